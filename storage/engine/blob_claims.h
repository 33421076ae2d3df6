// Who needs which blob. A blob is claimed by an owner before it is put, and deleted
// only when its record shows no user and was marked for deletion first, so that a
// put and a delete of the same content, in this daemon or another, never cross.
//
// A model owns what was stored for it under its id, or, what a repack stored for it,
// under RepackOwner.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/base/digest.h"
#include "storage/blobs/blob_store.h"
#include "storage/catalog/catalog.h"

namespace wdelta {

// The owner of what one repack of a model stores.
std::string RepackOwner(absl::string_view model_id, absl::string_view job_id);

// Any thread may call it. Owns nothing.
class BlobClaims {
 public:
  BlobClaims(BlobStore* blobs, Catalog* catalog) : blobs_(blobs), catalog_(catalog) {}

  // Claims the blob for the owner and stores it. UNAVAILABLE (`BLOB_RECLAIMED`)
  // while another job deletes the same content: try again.
  absl::Status ClaimAndPut(absl::string_view owner, const Digest& digest, absl::string_view data);

  // Gives up all claims of an owner and deletes blobs that nobody else claims. May be
  // repeated after a crash.
  absl::Status ReleaseAll(absl::string_view owner);
  // Likewise of all that ever stored for a model.
  absl::Status ReleaseModel(absl::string_view model_id);

 private:
  absl::Status Claim(absl::string_view owner, const std::string& hex);
  absl::Status Release(absl::string_view owner, const std::string& hex);

  BlobStore* const blobs_;
  Catalog* const catalog_;
};

}  // namespace wdelta

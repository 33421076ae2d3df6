// Who needs which blob. A blob is claimed for a model before it is put, and deleted
// only when its record shows no user and was marked for deletion first, so that a
// put and a delete of the same content, in this daemon or another, never cross.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/base/digest.h"
#include "storage/blobs/blob_store.h"
#include "storage/catalog/catalog.h"

namespace wdelta {

// Any thread may call it. Owns nothing.
class BlobClaims {
 public:
  BlobClaims(BlobStore* blobs, Catalog* catalog) : blobs_(blobs), catalog_(catalog) {}

  // Claims the blob for the model and stores it. UNAVAILABLE (`BLOB_RECLAIMED`)
  // while another job deletes the same content: try again.
  absl::Status ClaimAndPut(absl::string_view model_id, const Digest& digest,
                           absl::string_view data);

  // Gives up all claims of a model and deletes blobs that nobody else claims. May
  // be repeated after a crash.
  absl::Status ReleaseAll(absl::string_view model_id);

 private:
  absl::Status Claim(absl::string_view model_id, const std::string& hex);
  absl::Status Release(absl::string_view model_id, const std::string& hex);

  BlobStore* const blobs_;
  Catalog* const catalog_;
};

}  // namespace wdelta

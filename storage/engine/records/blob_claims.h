// Who needs which blob. A blob is claimed by an owner before it is put, and deleted
// only when its record shows no user and was marked for deletion first, so that a
// put and a delete of the same content never cross. A mark does not tell who set it, so
// two must not delete the same blob at once, or the slower would take what was put after
// the faster had ended: they take turns within a BlobClaims, of which a catalog has one.
//
// A model owns what was stored for it under its id, or, what a repack stored for it,
// under RepackOwner.
#pragma once

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/digest.h"
#include "storage/base/waiting.h"
#include "storage/blobs/blob_store.h"
#include "storage/catalog/catalog.h"

namespace wdelta {

// The owner of what one repack of a model stores.
std::string RepackOwner(absl::string_view model_id, absl::string_view job_id);

// Any thread may call it. Owns nothing.
class BlobClaims {
 public:
  // `waiting`: how a thread waits for its turn; null: it blocks.
  BlobClaims(BlobStore* blobs, Catalog* catalog, Waiting* waiting = nullptr)
      : blobs_(blobs), catalog_(catalog), waiting_(waiting) {}

  // Claims the blob for the owner and stores it. UNAVAILABLE (`BLOB_RECLAIMED`)
  // while another job deletes the same content: try again.
  absl::StatusOr<PutResult> ClaimAndPut(absl::string_view owner, const Digest& digest,
                                        absl::string_view data);

  // Gives up all claims of an owner and deletes blobs that nobody else claims. May be
  // repeated after a crash. Adds the sizes of deleted blobs to `freed_bytes`, if given.
  absl::Status ReleaseAll(absl::string_view owner, uint64_t* freed_bytes = nullptr);
  // Likewise of all that ever stored for a model.
  absl::Status ReleaseModel(absl::string_view model_id, uint64_t* freed_bytes = nullptr);
  // One claim.
  absl::Status Release(absl::string_view owner, const std::string& hex,
                       uint64_t* freed_bytes = nullptr) ABSL_LOCKS_EXCLUDED(mutex_);

  // Deletes a blob unless someone claims it, and its record with it.
  absl::Status DeleteUnclaimed(const std::string& hex, uint64_t* freed_bytes = nullptr)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  class Turn;

  absl::Status Claim(absl::string_view owner, const std::string& hex);
  // Of a blob whose record was marked in the commit `marked_version`; `done` is added to
  // the commit that erases it.
  absl::Status DeleteMarked(const std::string& hex, uint64_t marked_version, Commit done,
                            uint64_t* freed_bytes);

  BlobStore* const blobs_;
  Catalog* const catalog_;
  Waiting* const waiting_;
  absl::Mutex mutex_;
  // Blobs whose claims are being given up, in hex.
  absl::flat_hash_set<std::string> releasing_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

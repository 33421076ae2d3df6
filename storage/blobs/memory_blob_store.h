// Blobs in RAM: for tests, and the plain model of the contract.
#pragma once

#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/blobs/blob_store.h"

namespace wdelta {

// Any thread may call it. Nothing survives it.
class MemoryBlobStore final : public BlobStore {
 public:
  absl::StatusOr<PutResult> Put(const Digest& digest, absl::string_view data) override;
  absl::StatusOr<std::string> Get(const Digest& digest, uint64_t offset, uint64_t size) override;
  absl::StatusOr<BlobInfo> Stat(const Digest& digest) override;
  absl::StatusOr<BlobPage> List(const std::string& after_hex, uint32_t limit) override;
  absl::Status Delete(const Digest& digest) override;

 private:
  absl::Mutex mutex_;
  std::map<Digest, std::string> blobs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

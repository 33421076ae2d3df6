#include "storage/blobs/memory_blob_store.h"

#include "storage/base/status_macros.h"
#include "storage/blobs/blob_checks.h"

namespace wdelta {

absl::StatusOr<PutResult> MemoryBlobStore::Put(const Digest& digest, absl::string_view data) {
  WDELTA_RETURN_IF_ERROR(CheckBlob(digest, data));
  absl::MutexLock lock(&mutex_);
  const bool created = blobs_.try_emplace(digest, data).second;
  return created ? PutResult::kCreated : PutResult::kExisted;
}

absl::StatusOr<std::string> MemoryBlobStore::Get(const Digest& digest, uint64_t offset,
                                                 uint64_t size) {
  absl::MutexLock lock(&mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return BlobNotFoundError(digest);
  WDELTA_RETURN_IF_ERROR(CheckBlobRange(digest, offset, size, found->second.size()));
  return found->second.substr(offset, size);
}

absl::StatusOr<BlobInfo> MemoryBlobStore::Stat(const Digest& digest) {
  absl::MutexLock lock(&mutex_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return BlobNotFoundError(digest);
  return BlobInfo{digest, found->second.size()};
}

absl::StatusOr<BlobPage> MemoryBlobStore::List(const std::string& after_hex, uint32_t limit) {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Digest> after, CheckBlobList(after_hex, limit));
  absl::MutexLock lock(&mutex_);
  BlobPage page;
  auto it = after.has_value() ? blobs_.upper_bound(*after) : blobs_.begin();
  for (; it != blobs_.end() && page.blobs.size() < limit; ++it) {
    page.blobs.push_back({it->first, it->second.size()});
  }
  page.more = it != blobs_.end();
  return page;
}

absl::Status MemoryBlobStore::Delete(const Digest& digest) {
  absl::MutexLock lock(&mutex_);
  blobs_.erase(digest);
  return absl::OkStatus();
}

}  // namespace wdelta

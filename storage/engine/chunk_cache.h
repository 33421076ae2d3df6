// Decoded chunks of models that others are encoded against, shared by all fetches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/digest.h"

namespace wdelta {

// Bytes [offset, offset + size) of a stream of the model with a digest: what they are
// does not depend on how the model is stored.
struct ChunkKey {
  Digest model;
  uint32_t stream = 0;
  uint64_t offset = 0;
  uint64_t size = 0;

  bool operator==(const ChunkKey&) const = default;
  template <typename H>
  friend H AbslHashValue(H state, const ChunkKey& key) {
    return H::combine(std::move(state), key.model.ToBytes(), key.stream, key.offset, key.size);
  }
};

// Any thread may call it. Evicts at random: of a base larger than the cache, which every
// fetch reads from end to end, a good part is found again, where the least recently used
// chunk would always be the next one asked for.
class ChunkCache {
 public:
  using Bytes = std::shared_ptr<const std::string>;

  // Holds at most `capacity_bytes`; 0: holds nothing.
  explicit ChunkCache(uint64_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

  // Null when absent.
  Bytes Find(const ChunkKey& key) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Keeps `bytes` if they fit at all; the first of equal keys stays.
  void Insert(const ChunkKey& key, Bytes bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  uint64_t size_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void EvictOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const uint64_t capacity_bytes_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<ChunkKey, Bytes> entries_ ABSL_GUARDED_BY(mutex_);
  std::vector<ChunkKey> keys_ ABSL_GUARDED_BY(mutex_);  // of all entries
  uint64_t size_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t random_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace wdelta

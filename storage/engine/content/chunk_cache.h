// Decoded chunks, shared by all fetches: those of models that others are encoded against, and
// those that several fetches want.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/digest.h"
#include "storage/base/waiting.h"
#include "storage/engine/content/piece_buffers.h"

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

  // Holds at most `capacity_bytes`, memory that waits for chunks included; 0: holds nothing.
  // `waiting`: how a thread waits for another's chunk; null: it blocks.
  explicit ChunkCache(uint64_t capacity_bytes, Waiting* waiting = nullptr);

  // Null when absent.
  Bytes Find(const ChunkKey& key) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Of someone who found nothing and decodes without the cache.
  void CountMiss() { misses_.fetch_add(1, std::memory_order_relaxed); }
  // Keeps `bytes` if they fit at all, with what an entry takes; the first of equal keys stays.
  void Insert(const ChunkKey& key, Bytes bytes) ABSL_LOCKS_EXCLUDED(mutex_);

  // Fills `key.size` bytes at `destination`.
  using Decode = absl::FunctionRef<absl::Status(char* destination)>;

  enum class Keep { kAlways, kWhenAskedAgain };

  // What is found, or else decoded and kept; or kept only when it was asked for before, not long
  // ago. Of threads that ask for the same chunk of the same `source` at once one decodes, and
  // the others wait for it; after an error of `decode`, which is returned, one of them tries
  // again. `decode` may ask for chunks of sources that its own leans on, never of one that leans
  // on its own: so no two threads wait for each other.
  absl::StatusOr<Bytes> FindOrDecode(const ChunkKey& key, const void* source, Keep keep,
                                     Decode decode) ABSL_LOCKS_EXCLUDED(mutex_);
  // The same into `destination`, with kWhenAskedAgain.
  absl::Status Read(const ChunkKey& key, const void* source, char* destination, Decode decode)
      ABSL_LOCKS_EXCLUDED(mutex_);

  struct Stats {
    uint64_t hits = 0;    // chunks that were there, or that another thread was decoding
    uint64_t misses = 0;  // chunks that had to be decoded
    uint64_t evictions = 0;
    uint64_t entries = 0;
    uint64_t size_bytes = 0;
    uint64_t capacity_bytes = 0;  // for entries
  };
  Stats stats() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Threads that wait for another's chunk.
  int waiting() const ABSL_LOCKS_EXCLUDED(mutex_);
  uint64_t size_bytes() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Place = std::pair<ChunkKey, const void*>;
  // A chunk that a thread is decoding.
  struct Flight {
    bool is_done = false;
    int waiting = 0;
    Bytes bytes;  // null: the decoding failed, or nobody waited
  };

  // What is there or comes from another thread, and counts it; null: as Join.
  Bytes FindOrJoin(const Place& place) ABSL_LOCKS_EXCLUDED(mutex_);
  Bytes FindLocked(const ChunkKey& key) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Bytes of another thread; or null, and the chunk is the caller's to decode and to land.
  Bytes Join(const Place& place) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether others wait for the chunk. Ends the flight unless they do.
  bool EndUnlessAwaited(const Place& place) ABSL_LOCKS_EXCLUDED(mutex_);
  // Ends the flight with bytes, which are kept or not.
  void Land(const Place& place, Keep keep, const Bytes& bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  void End(const Place& place, Bytes bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether it was asked for before, not long ago.
  bool Recall(const ChunkKey& key) ABSL_LOCKS_EXCLUDED(mutex_);
  // Memory for a chunk: whole ones lie in that of others that nobody holds any more. Most live for
  // one child only, and new memory is a page fault for every 4 KiB.
  std::string TakeBuffer(uint64_t size);
  Bytes Share(std::string bytes);
  void EvictOne() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const uint64_t capacity_bytes_;                // of entries
  const std::shared_ptr<PieceBuffers> buffers_;  // of whole chunks
  Waiting* const waits_by_;
  mutable std::atomic<uint64_t> hits_ = 0;
  std::atomic<uint64_t> misses_ = 0;
  mutable absl::Mutex mutex_;
  uint64_t evictions_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<ChunkKey, Bytes> entries_ ABSL_GUARDED_BY(mutex_);
  std::vector<ChunkKey> keys_ ABSL_GUARDED_BY(mutex_);  // of all entries
  uint64_t size_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t random_ ABSL_GUARDED_BY(mutex_) = 1;
  absl::flat_hash_map<Place, std::shared_ptr<Flight>> flights_ ABSL_GUARDED_BY(mutex_);
  // Chunks asked for once: two generations, of which the older is forgotten when the younger
  // has as many bytes as the cache.
  absl::flat_hash_set<ChunkKey> young_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<ChunkKey> old_ ABSL_GUARDED_BY(mutex_);
  uint64_t young_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace wdelta

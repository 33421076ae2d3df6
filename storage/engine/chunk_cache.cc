#include "storage/engine/chunk_cache.h"

#include <utility>

namespace wdelta {

ChunkCache::Bytes ChunkCache::Find(const ChunkKey& key) const {
  absl::ReaderMutexLock lock(&mutex_);
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : found->second;
}

void ChunkCache::Insert(const ChunkKey& key, Bytes bytes) {
  const uint64_t added_bytes = bytes->size();
  if (added_bytes > capacity_bytes_) return;
  absl::MutexLock lock(&mutex_);
  if (entries_.contains(key)) return;
  while (size_bytes_ + added_bytes > capacity_bytes_) EvictOne();
  entries_[key] = std::move(bytes);
  keys_.push_back(key);
  size_bytes_ += added_bytes;
}

uint64_t ChunkCache::size_bytes() const {
  absl::ReaderMutexLock lock(&mutex_);
  return size_bytes_;
}

void ChunkCache::EvictOne() {
  // Marsaglia's xorshift64.
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  const size_t place = random_ % keys_.size();
  const auto victim = entries_.find(keys_[place]);
  size_bytes_ -= victim->second->size();
  entries_.erase(victim);
  keys_[place] = keys_.back();
  keys_.pop_back();
}

}  // namespace wdelta

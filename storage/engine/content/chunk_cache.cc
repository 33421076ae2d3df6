#include "storage/engine/content/chunk_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "storage/base/limits.h"

namespace wdelta {

namespace {

// Whose memory waits for others.
uint64_t MaxIdleChunks(uint64_t capacity_bytes) {
  return std::min(limits::kMaxIdleChunks, capacity_bytes / limits::kChunkBytes / 16);
}

}  // namespace

ChunkCache::ChunkCache(uint64_t capacity_bytes, Waiting* waiting)
    : capacity_bytes_(capacity_bytes - MaxIdleChunks(capacity_bytes) * limits::kChunkBytes),
      buffers_(std::make_shared<PieceBuffers>(MaxIdleChunks(capacity_bytes))),
      waits_by_(waiting) {}

ChunkCache::Bytes ChunkCache::Find(const ChunkKey& key) const {
  Bytes found;
  {
    absl::ReaderMutexLock lock(&mutex_);
    found = FindLocked(key);
  }
  if (found != nullptr) hits_.fetch_add(1, std::memory_order_relaxed);
  return found;
}

ChunkCache::Bytes ChunkCache::FindOrJoin(const Place& place) {
  if (Bytes found = Find(place.first)) return found;
  Bytes joined = Join(place);
  (joined != nullptr ? hits_ : misses_).fetch_add(1, std::memory_order_relaxed);
  return joined;
}

ChunkCache::Bytes ChunkCache::FindLocked(const ChunkKey& key) const {
  const auto found = entries_.find(key);
  return found == entries_.end() ? nullptr : found->second;
}

void ChunkCache::Insert(const ChunkKey& key, Bytes bytes) {
  const uint64_t added_bytes = bytes->size() + limits::kCacheEntryBytes;
  if (added_bytes > capacity_bytes_) return;
  absl::MutexLock lock(&mutex_);
  if (entries_.contains(key)) return;
  while (size_bytes_ + added_bytes > capacity_bytes_) EvictOne();
  entries_[key] = std::move(bytes);
  keys_.push_back(key);
  size_bytes_ += added_bytes;
}

ChunkCache::Bytes ChunkCache::Join(const Place& place) {
  absl::MutexLock lock(&mutex_);
  while (true) {
    if (Bytes found = FindLocked(place.first)) return found;
    const auto [entry, is_first] = flights_.try_emplace(place);
    if (is_first) {
      entry->second = std::make_shared<Flight>();
      return nullptr;
    }
    const std::shared_ptr<Flight> flight = entry->second;
    ++flight->waiting;
    const absl::Condition is_done(&flight->is_done);
    if (waits_by_ == nullptr) {
      mutex_.Await(is_done);
    } else {
      waits_by_->Await(mutex_, is_done);
    }
    if (flight->bytes != nullptr) return flight->bytes;
  }
}

bool ChunkCache::EndUnlessAwaited(const Place& place) {
  absl::MutexLock lock(&mutex_);
  const auto flight = flights_.find(place);
  if (flight->second->waiting > 0) return true;
  flights_.erase(flight);
  return false;
}

void ChunkCache::End(const Place& place, Bytes bytes) {
  absl::MutexLock lock(&mutex_);
  const auto flight = flights_.find(place);
  flight->second->bytes = std::move(bytes);
  flight->second->is_done = true;
  flights_.erase(flight);
}

absl::StatusOr<ChunkCache::Bytes> ChunkCache::FindOrDecode(const ChunkKey& key, const void* source,
                                                           Keep keep, Decode decode) {
  const Place place(key, source);
  const Bytes found = FindOrJoin(place);
  if (found != nullptr) return found;
  std::string decoded = TakeBuffer(key.size);
  decoded.resize(key.size);
  const absl::Status status = decode(decoded.data());
  if (!status.ok()) {
    End(place, nullptr);
    return status;
  }
  Bytes bytes = Share(std::move(decoded));
  Land(place, keep, bytes);
  return bytes;
}

absl::Status ChunkCache::Read(const ChunkKey& key, const void* source, char* destination,
                              Decode decode) {
  const Place place(key, source);
  const Bytes found = FindOrJoin(place);
  if (found != nullptr) {
    std::memcpy(destination, found->data(), key.size);
    return absl::OkStatus();
  }
  const absl::Status status = decode(destination);
  if (!status.ok()) {
    End(place, nullptr);
    return status;
  }
  // Most chunks are wanted by nobody else: they are not copied.
  if (!Recall(key) && !EndUnlessAwaited(place)) return absl::OkStatus();
  std::string kept = TakeBuffer(key.size);
  kept.assign(destination, key.size);
  Land(place, Keep::kAlways, Share(std::move(kept)));
  return absl::OkStatus();
}

std::string ChunkCache::TakeBuffer(uint64_t size) {
  return size == limits::kChunkBytes ? buffers_->Take() : std::string();
}

ChunkCache::Bytes ChunkCache::Share(std::string bytes) {
  if (bytes.size() != limits::kChunkBytes) {
    return std::make_shared<const std::string>(std::move(bytes));
  }
  return {new std::string(std::move(bytes)), [buffers = buffers_](std::string* last) {
            const std::unique_ptr<std::string> owned(last);
            buffers->Give(std::move(*owned));
          }};
}

void ChunkCache::Land(const Place& place, Keep keep, const Bytes& bytes) {
  if (keep == Keep::kAlways || Recall(place.first)) Insert(place.first, bytes);
  End(place, bytes);
}

bool ChunkCache::Recall(const ChunkKey& key) {
  const uint64_t entry_bytes = key.size + limits::kCacheEntryBytes;
  if (entry_bytes > capacity_bytes_) return false;
  absl::MutexLock lock(&mutex_);
  if (young_.contains(key) || old_.contains(key)) return true;
  if (young_bytes_ + entry_bytes > capacity_bytes_) {
    std::swap(young_, old_);
    young_.clear();
    young_bytes_ = 0;
  }
  young_.insert(key);
  young_bytes_ += entry_bytes;
  return false;
}

ChunkCache::Stats ChunkCache::stats() const {
  absl::ReaderMutexLock lock(&mutex_);
  return {hits_.load(std::memory_order_relaxed),
          misses_.load(std::memory_order_relaxed),
          evictions_,
          entries_.size(),
          size_bytes_,
          capacity_bytes_};
}

int ChunkCache::waiting() const {
  absl::ReaderMutexLock lock(&mutex_);
  int waiting = 0;
  for (const auto& [place, flight] : flights_) waiting += flight->waiting;
  return waiting;
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
  size_bytes_ -= victim->second->size() + limits::kCacheEntryBytes;
  entries_.erase(victim);
  keys_[place] = keys_.back();
  keys_.pop_back();
  ++evictions_;
}

}  // namespace wdelta

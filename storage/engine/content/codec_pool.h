// Chunk codecs with their scratch memory, lent to one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/codec/codec.h"

namespace wdelta {

class CodecPool {
 public:
  struct Worker {
    ChunkCodec codec;
    std::string parent;          // scratch for the parent's bytes of a chunk
    std::string chunk;           // scratch for a chunk that is wanted in part
    std::vector<float> factors;  // scratch for those of a correction
    LossyChunk lossy;            // scratch for a chunk whose outcome alone is wanted
  };

  // Gives the worker back when it goes.
  class Lease {
   public:
    Lease(CodecPool* pool, std::unique_ptr<Worker> worker)
        : pool_(pool), worker_(std::move(worker)) {}
    ~Lease() {
      if (worker_ != nullptr) pool_->GiveBack(std::move(worker_));
    }
    Lease(Lease&&) noexcept = default;
    Lease& operator=(Lease&&) = delete;
    Worker* operator->() { return worker_.get(); }
    Worker* get() { return worker_.get(); }

   private:
    CodecPool* pool_;
    std::unique_ptr<Worker> worker_;
  };

  // As many workers exist as were lent at the same time.
  Lease Borrow() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (idle_.empty()) return Lease(this, std::make_unique<Worker>());
    std::unique_ptr<Worker> worker = std::move(idle_.back());
    idle_.pop_back();
    return Lease(this, std::move(worker));
  }

 private:
  void GiveBack(std::unique_ptr<Worker> worker) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    idle_.push_back(std::move(worker));
  }

  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Worker>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

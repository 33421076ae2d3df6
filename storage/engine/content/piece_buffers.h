// Memory of pieces that were sent, for pieces to come.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace wdelta {

// A new megabyte costs the kernel a page fault for every 4 KiB, and its reader zeros that nobody
// wants. Any thread may call it.
class PieceBuffers {
 public:
  // Keeps at most `max_idle`.
  explicit PieceBuffers(size_t max_idle) : max_idle_(max_idle) {}

  // Of any size and content.
  std::string Take() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (idle_.empty()) return {};
    std::string buffer = std::move(idle_.back());
    idle_.pop_back();
    return buffer;
  }

  void Give(std::string buffer) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (idle_.size() < max_idle_) idle_.push_back(std::move(buffer));
  }

 private:
  const size_t max_idle_;
  absl::Mutex mutex_;
  std::vector<std::string> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

// Puts one file of a model in its place: kept, linked or fetched.
#pragma once

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "client/cpp/client.h"
#include "client/cpp/interrupt.h"
#include "client/cpp/part_file.h"
#include "client/cpp/progress.h"
#include "client/cpp/pull.h"
#include "client/cpp/stall_report.h"

namespace wdelta {

// What the transfers of several files have done together. Any thread may call it.
class PullTally {
 public:
  // The callbacks may be empty; they must outlive this.
  PullTally(uint64_t total_bytes, const ProgressCallback& progress, const StallCallback& on_stall)
      : report_(progress), stalls_(on_stall), progress_{.total_bytes = total_bytes} {}

  // Of the file `path`, `done_bytes` are there instead of `before_bytes`. Calls the callback,
  // one call at a time.
  void Move(const std::string& path, uint64_t before_bytes, uint64_t done_bytes)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    progress_.path = path;
    progress_.done_bytes += done_bytes - before_bytes;
    if (report_) report_(progress_);
  }

  StallReport& stalls() { return stalls_; }

 private:
  const ProgressCallback& report_;
  StallReport stalls_;
  absl::Mutex mutex_;
  Progress progress_ ABSL_GUARDED_BY(mutex_);
};

// How a file came to its place.
struct PulledFile {
  bool was_there = false;
  bool is_linked = false;
  uint64_t received_bytes = 0;  // also after an error
};

// One file. One thread at a time.
class FilePull {
 public:
  // Borrows all of them. `interrupt` breaks it off, with CANCELLED.
  FilePull(Client& client, const std::string& model_id, const v1::File& file,
           const PullOptions& options, PullTally& tally, Interrupt& interrupt)
      : client_(client),
        model_id_(model_id),
        file_(file),
        options_(options),
        tally_(tally),
        stall_(tally.stalls()),
        interrupt_(interrupt) {}

  // Kept, linked, or else fetched. Errors as PullModel.
  absl::Status PutInPlace(const std::string& folder);
  // Without fetching; false: it has to be fetched.
  bool KeepOrLink(const std::string& folder);
  // Of a file that is known to be neither in place nor to link. Errors as PullModel.
  absl::Status FetchInPlace(const std::string& folder);
  const PulledFile& pulled() const { return pulled_; }

 private:
  absl::Status Fetch(const std::string& destination);
  absl::Status TryFetch(const std::string& destination, bool& is_resumed);
  absl::Status FetchInto(PartFile& part);
  void MoveTo(uint64_t done_bytes);

  Client& client_;
  const std::string& model_id_;
  const v1::File& file_;
  const PullOptions& options_;
  PullTally& tally_;
  StallReport::Transfer stall_;
  Interrupt& interrupt_;
  PulledFile pulled_;
  uint64_t done_bytes_ = 0;  // as the tally knows it
};

}  // namespace wdelta

// Progress on stderr: one line redrawn on a terminal, a plain line now and then
// elsewhere, nothing when quiet. Any thread may call it.
#pragma once

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/cpp/progress.h"

namespace wdelta {

// `wdelta: <what>: connection lost, trying again: ...` for what a StallCallback was given, or that
// the server is busy, or `wdelta: <what>: goes on`.
std::string StallLine(absl::string_view what, const absl::Status& reason);

class ProgressBar {
 public:
  ProgressBar(std::string label, bool is_quiet);
  // Ends the line.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Update(const Progress& progress) ABSL_LOCKS_EXCLUDED(mutex_);
  // A line of its own, above the bar.
  void Say(absl::string_view line) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const std::string label_;
  const bool is_quiet_;
  const bool is_terminal_;
  const absl::Time start_;
  absl::Mutex mutex_;
  absl::Time drawn_ ABSL_GUARDED_BY(mutex_);  // when last
  bool is_complete_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace wdelta

// Progress on stderr: one line redrawn on a terminal, a plain line now and then
// elsewhere, nothing when quiet. One thread at a time.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "client/cpp/progress.h"

namespace wdelta {

class ProgressBar {
 public:
  ProgressBar(std::string label, bool is_quiet);
  // Ends the line.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void Update(const Progress& progress);

 private:
  const std::string label_;
  const bool is_quiet_;
  const bool is_terminal_;
  const absl::Time start_;
  absl::Time drawn_;  // when last
  bool is_complete_ = false;
};

}  // namespace wdelta

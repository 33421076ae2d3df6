#include "client/cli/progress_bar.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cli/text.h"
#include "client/cpp/rpc_status.h"

namespace wdelta {
namespace {

constexpr absl::Duration kTerminalInterval = absl::Milliseconds(100);
constexpr absl::Duration kPlainInterval = absl::Seconds(10);

}  // namespace

std::string StallLine(absl::string_view what, const absl::Status& reason) {
  if (reason.ok()) return Printable(absl::StrCat("wdelta: ", what, ": goes on"));
  return Printable(absl::StrCat("wdelta: ", what, ": ",
                                IsBusy(reason) ? "the server is busy" : "connection lost",
                                ", trying again: ", reason.message()));
}

ProgressBar::ProgressBar(std::string label, bool is_quiet)
    : label_(std::move(label)),
      is_quiet_(is_quiet),
      is_terminal_(isatty(STDERR_FILENO) != 0),
      start_(absl::Now()),
      drawn_(is_terminal_ ? absl::InfinitePast() : start_) {}

ProgressBar::~ProgressBar() {
  if (is_terminal_ && !is_quiet_ && drawn_ != absl::InfinitePast()) std::fputc('\n', stderr);
}

void ProgressBar::Update(const Progress& progress) {
  if (is_quiet_) return;
  absl::MutexLock lock(&mutex_);
  if (is_complete_) return;
  is_complete_ = progress.total_bytes > 0 && progress.done_bytes >= progress.total_bytes;
  const absl::Time now = absl::Now();
  const bool is_due = now - drawn_ >= (is_terminal_ ? kTerminalInterval : kPlainInterval);
  // The end is shown where something was shown before.
  const bool shows_end = is_complete_ && (is_terminal_ || drawn_ != start_);
  if (!is_due && !shows_end) return;
  drawn_ = now;
  const std::string line = Printable(ProgressLine(progress, now - start_));
  std::fprintf(stderr, is_terminal_ ? "\r%s %s\033[K" : "%s %s\n", label_.c_str(), line.c_str());
  std::fflush(stderr);
}

void ProgressBar::Say(absl::string_view line) {
  if (is_quiet_) return;
  absl::MutexLock lock(&mutex_);
  // What is left of the bar goes; it is drawn again below.
  std::fprintf(stderr, is_terminal_ ? "\r%s\033[K\n" : "%s\n", Printable(line).c_str());
  std::fflush(stderr);
  if (is_terminal_) drawn_ = absl::InfinitePast();
}

}  // namespace wdelta

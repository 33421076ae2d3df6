#include "server/jobs/gc_timer.h"

#include <utility>

namespace wdelta {

GcTimer::GcTimer(StartGc start, absl::Duration interval, spdlog::logger* log)
    : start_(std::move(start)), interval_(interval), log_(log) {
  if (interval_ > absl::ZeroDuration()) thread_ = std::thread([this] { Work(); });
}

GcTimer::~GcTimer() {
  RequestStop();
  if (thread_.joinable()) thread_.join();
}

void GcTimer::RequestStop() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
}

void GcTimer::Work() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&stopping_), interval_)) return;
    }
    const absl::StatusOr<std::string> job = start_();
    if (!job.ok()) log_->error("gc: {}", job.status().ToString());
  }
}

}  // namespace wdelta

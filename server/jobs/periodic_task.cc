#include "server/jobs/periodic_task.h"

#include <utility>

namespace wdelta {

PeriodicTask::PeriodicTask(std::string name, std::function<absl::Status()> task,
                           absl::Duration interval, spdlog::logger* log)
    : name_(std::move(name)), task_(std::move(task)), interval_(interval), log_(log) {
  if (interval_ > absl::ZeroDuration()) thread_ = std::thread([this] { Work(); });
}

PeriodicTask::~PeriodicTask() {
  RequestStop();
  if (thread_.joinable()) thread_.join();
}

void PeriodicTask::RequestStop() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
}

void PeriodicTask::Work() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&stopping_), interval_)) return;
    }
    const absl::Status status = task_();
    if (!status.ok()) log_->error("{}: {}", name_, status.ToString());
  }
}

}  // namespace wdelta

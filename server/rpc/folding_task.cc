#include "server/rpc/folding_task.h"

#include <utility>

#include "storage/base/status_macros.h"

namespace wdelta {

void FoldingTask::Run() {
  absl::StatusOr<Route> route = Plan();
  std::shared_ptr<FoldedStream> folded = route.ok() ? route->folded : nullptr;
  std::function<void()> waker;
  {
    absl::MutexLock lock(&mutex_);
    if (is_cancelled_) return;
    folded_ = folded;
    route_ = std::move(route);
    waker = waker_;
  }
  if (waker) waker();
  if (folded != nullptr) folded->Run();
}

absl::StatusOr<FoldingTask::Route> FoldingTask::Plan() {
  // What is held of the chain goes with the planner, at the end of this.
  DeltaRoutePlanner planner = *std::exchange(planner_, std::nullopt);
  Route route;
  WDELTA_ASSIGN_OR_RETURN(route.steps, std::move(planner).Best([this] { return CheckAlive(); }));
  DeltaStep& first = route.steps.front();
  if (!first.is_folded()) return route;
  DeltaStep step = first;
  first.target.reset();
  first.parent.reset();
  const uint64_t skip_bytes = resume_.In(step);
  route.folded = std::make_shared<FoldedStream>(std::move(step), skip_bytes, pool_, max_wait_);
  return route;
}

absl::Status FoldingTask::CheckAlive() const {
  absl::MutexLock lock(&mutex_);
  return is_cancelled_ ? absl::CancelledError("nobody wants the delta any more") : absl::OkStatus();
}

void FoldingTask::SetWaker(std::function<void()> waker) {
  absl::MutexLock lock(&mutex_);
  waker_ = std::move(waker);
}

absl::StatusOr<std::optional<FoldingTask::Route>> FoldingTask::TryTake() {
  absl::MutexLock lock(&mutex_);
  if (is_cancelled_) return absl::CancelledError("nobody wants the delta any more");
  if (!route_.has_value()) return std::optional<Route>();
  WDELTA_ASSIGN_OR_RETURN(Route route, *std::exchange(route_, std::nullopt));
  return std::optional<Route>(std::move(route));
}

void FoldingTask::Cancel() {
  std::optional<absl::StatusOr<Route>> unwanted;
  std::shared_ptr<FoldedStream> folded;
  {
    absl::MutexLock lock(&mutex_);
    is_cancelled_ = true;
    waker_ = nullptr;
    unwanted.swap(route_);
    folded = folded_;
  }
  if (folded != nullptr) folded->Cancel();
}

}  // namespace wdelta

#include "server/rpc/admission_queue.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "server/rpc/admission_limits.h"
#include "storage/base/error.h"

namespace wdelta {

AdmissionQueue::AdmissionQueue(AdmissionQueueOptions options) : options_(std::move(options)) {
  if (options_.max_waiting > 0 && options_.max_wait != absl::InfiniteDuration()) {
    refusing_ = std::thread([this] { RefuseLateOnes(); });
  }
}

AdmissionQueue::~AdmissionQueue() {
  {
    absl::MutexLock lock(&mutex_);
    is_stopped_ = true;
  }
  if (refusing_.joinable()) refusing_.join();
}

AdmissionQueue::Ticket AdmissionQueue::Enter(uint64_t held_bytes, OnTurn on_turn) {
  return EnterLine(/*is_hurried=*/false, held_bytes, std::move(on_turn));
}

AdmissionQueue::Ticket AdmissionQueue::EnterLine(bool is_hurried, uint64_t held_bytes,
                                                 OnTurn on_turn) {
  absl::Status refusal;
  {
    absl::MutexLock lock(&mutex_);
    Line& line = is_hurried ? hurried_ : waiting_;
    if (!closed_.ok()) {
      refusal = closed_;
    } else if (taken_ < options_.limit) {
      ++taken_;
    } else if (!MayWait(line, held_bytes)) {
      refusal = Refusal();
    } else {
      const absl::Time end = absl::Now() + options_.max_wait;
      line.emplace_hint(line.end(), ++last_ticket_, Waiter{held_bytes, end, std::move(on_turn)});
      waiting_bytes_ += held_bytes;
      return last_ticket_;
    }
  }
  if (refusal.ok()) {
    on_turn(Slot(this));
  } else {
    on_turn(std::move(refusal));
  }
  return kNoTicket;
}

bool AdmissionQueue::Leave(Ticket ticket) {
  OnTurn left;  // destroyed without the lock
  absl::MutexLock lock(&mutex_);
  for (Line* const line : {&waiting_, &hurried_}) {
    const auto waiter = line->find(ticket);
    if (waiter == line->end()) continue;
    left = Take(*line, waiter);
    return true;
  }
  return false;
}

std::optional<AdmissionQueue::Slot> AdmissionQueue::TryEnter() {
  absl::MutexLock lock(&mutex_);
  if (taken_ == options_.limit) return std::nullopt;
  ++taken_;
  return Slot(this);
}

absl::StatusOr<AdmissionQueue::Slot> AdmissionQueue::Await(absl::Duration max_wait) {
  std::optional<absl::StatusOr<Slot>> outcome;
  absl::Notification is_over;
  const Ticket ticket =
      EnterLine(/*is_hurried=*/true, 0, [&outcome, &is_over](absl::StatusOr<Slot> told) {
        outcome.emplace(std::move(told));
        is_over.Notify();
      });
  if (!is_over.WaitForNotificationWithTimeout(std::min(max_wait, options_.max_wait))) {
    if (Leave(ticket)) return Refusal();
    is_over.WaitForNotification();
  }
  return *std::move(outcome);
}

void AdmissionQueue::Close(const absl::Status& status) {
  std::vector<OnTurn> refused;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = status;
    for (Line* const line : {&waiting_, &hurried_}) {
      while (!line->empty()) refused.push_back(Take(*line, line->begin()));
    }
  }
  for (OnTurn& on_turn : refused) on_turn(status);
}

int AdmissionQueue::taken() const {
  absl::MutexLock lock(&mutex_);
  return taken_;
}

int AdmissionQueue::waiting() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int>(waiting_.size() + hurried_.size());
}

void AdmissionQueue::GiveBack() {
  OnTurn next;
  {
    absl::MutexLock lock(&mutex_);
    if (waiting_.empty() && hurried_.empty()) {
      --taken_;
      return;
    }
    const bool is_hurried = !hurried_.empty() && (waiting_.empty() || !hurried_had_last_);
    hurried_had_last_ = is_hurried;
    Line& line = is_hurried ? hurried_ : waiting_;
    next = Take(line, line.begin());
  }
  next(Slot(this));
}

bool AdmissionQueue::MayWait(const Line& line, uint64_t held_bytes) const {
  return static_cast<int>(line.size()) < options_.max_waiting &&
         held_bytes <= options_.max_waiting_bytes / admission_limits::kWaitingByteShares &&
         held_bytes <= options_.max_waiting_bytes - waiting_bytes_;
}

AdmissionQueue::OnTurn AdmissionQueue::Take(Line& line, Line::iterator waiter) {
  waiting_bytes_ -= waiter->second.held_bytes;
  OnTurn on_turn = std::move(waiter->second.on_turn);
  line.erase(waiter);
  return on_turn;
}

absl::Status AdmissionQueue::Refusal() const {
  return MakeError(absl::StatusCode::kResourceExhausted, options_.reason,
                   absl::StrCat("expected at most ", options_.limit, " ", options_.things,
                                " at once, found more and no end of one in time; try later"));
}

void AdmissionQueue::RefuseLateOnes() {
  while (true) {
    std::vector<OnTurn> late;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &AdmissionQueue::HasWaiterOrIsStopped));
      if (is_stopped_) return;
      // Nobody in the line loses patience before its first.
      const absl::Time end = waiting_.begin()->second.end;
      if (mutex_.AwaitWithDeadline(absl::Condition(this, &AdmissionQueue::IsStopped), end)) return;
      const absl::Time now = absl::Now();
      while (!waiting_.empty() && waiting_.begin()->second.end <= now) {
        late.push_back(Take(waiting_, waiting_.begin()));
      }
    }
    for (OnTurn& on_turn : late) on_turn(Refusal());
  }
}

}  // namespace wdelta

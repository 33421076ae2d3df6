#include "server/rpc/admission_queue.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
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
  absl::Status refusal;
  {
    absl::MutexLock lock(&mutex_);
    if (!closed_.ok()) {
      refusal = closed_;
    } else if (taken_ < options_.limit) {
      ++taken_;
    } else if (!MayWait(held_bytes)) {
      refusal = Refusal();
    } else {
      const absl::Time end = absl::Now() + options_.max_wait;
      waiting_.emplace_hint(waiting_.end(), ++last_ticket_,
                            Waiter{held_bytes, end, std::move(on_turn)});
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
  const auto waiter = waiting_.find(ticket);
  if (waiter == waiting_.end()) return false;
  left = Take(waiter);
  return true;
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
  const Ticket ticket = Enter(0, [&outcome, &is_over](absl::StatusOr<Slot> told) {
    outcome.emplace(std::move(told));
    is_over.Notify();
  });
  if (!is_over.WaitForNotificationWithTimeout(max_wait)) {
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
    while (!waiting_.empty()) refused.push_back(Take(waiting_.begin()));
  }
  for (OnTurn& on_turn : refused) on_turn(status);
}

int AdmissionQueue::taken() const {
  absl::MutexLock lock(&mutex_);
  return taken_;
}

int AdmissionQueue::waiting() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int>(waiting_.size());
}

void AdmissionQueue::GiveBack() {
  OnTurn next;
  {
    absl::MutexLock lock(&mutex_);
    if (waiting_.empty()) {
      --taken_;
      return;
    }
    next = Take(waiting_.begin());
  }
  next(Slot(this));
}

bool AdmissionQueue::MayWait(uint64_t held_bytes) const {
  return static_cast<int>(waiting_.size()) < options_.max_waiting &&
         held_bytes <= options_.max_waiting_bytes - waiting_bytes_;
}

AdmissionQueue::OnTurn AdmissionQueue::Take(std::map<Ticket, Waiter>::iterator waiter) {
  waiting_bytes_ -= waiter->second.held_bytes;
  OnTurn on_turn = std::move(waiter->second.on_turn);
  waiting_.erase(waiter);
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
      // Nobody who waits loses patience before the first.
      const absl::Time end = waiting_.begin()->second.end;
      if (mutex_.AwaitWithDeadline(absl::Condition(this, &AdmissionQueue::IsStopped), end)) return;
      const absl::Time now = absl::Now();
      while (!waiting_.empty() && waiting_.begin()->second.end <= now) {
        late.push_back(Take(waiting_.begin()));
      }
    }
    for (OnTurn& on_turn : late) on_turn(Refusal());
  }
}

}  // namespace wdelta

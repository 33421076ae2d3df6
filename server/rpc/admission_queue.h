// How many of a thing may go on at once, and whose turn is next: those beyond wait, in one of two
// lines, until one that goes on ends. Where nobody is to wait, see admission.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace wdelta {

struct AdmissionQueueOptions {
  int limit = 1;        // that go on at once
  int max_waiting = 0;  // in each of the two lines; 0: nobody waits
  // Of memory, that all who wait hold; one of them at most one of kWaitingByteShares of it.
  uint64_t max_waiting_bytes = 0;
  absl::Duration max_wait = absl::InfiniteDuration();  // for each
  std::string reason = "TOO_MANY";                     // of a refusal
  std::string things = "things";                       // what they are, in its text
};

// Any thread may call it. Those who Enter wait in one line, threads that Await in another: theirs
// is the shorter patience, so that behind all of the first they would never have a turn. A place
// that is given back goes to the one who has waited longest in a line, to both lines in turn while
// anybody waits in both; never to one who comes at that moment. Must outlive its slots and those
// who wait.
class AdmissionQueue {
 public:
  // A place; given back when it goes, whereupon the next is told of its turn in that thread.
  class Slot {
   public:
    explicit Slot(AdmissionQueue* owner) : owner_(owner) {}
    Slot(Slot&& other) noexcept : owner_(std::exchange(other.owner_, nullptr)) {}
    Slot& operator=(Slot&&) = delete;
    ~Slot() {
      if (owner_ != nullptr) owner_->GiveBack();
    }

   private:
    AdmissionQueue* owner_;
  };

  // Takes the place, or the refusal: RESOURCE_EXHAUSTED with the options' reason when too many
  // wait or this one waited too long, the status of Close. Called without a lock of the queue,
  // but with those under which a slot is given back: with a place it is not to take such a lock,
  // and never to block.
  using OnTurn = absl::AnyInvocable<void(absl::StatusOr<Slot>)>;
  // Of one who waits.
  using Ticket = uint64_t;
  static constexpr Ticket kNoTicket = 0;

  explicit AdmissionQueue(AdmissionQueueOptions options);
  ~AdmissionQueue();
  AdmissionQueue(const AdmissionQueue&) = delete;
  AdmissionQueue& operator=(const AdmissionQueue&) = delete;

  // Calls `on_turn` once, maybe before it returns, unless Leave comes first. `held_bytes` of
  // memory are the waiter's as long as it waits.
  Ticket Enter(uint64_t held_bytes, OnTurn on_turn) ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether it waited still: then it does no more, and its OnTurn is not called, but destroyed.
  // False as well for one whose OnTurn is about to be called.
  bool Leave(Ticket ticket) ABSL_LOCKS_EXCLUDED(mutex_);

  // For one who does not wait. nullopt: full, or others wait.
  std::optional<Slot> TryEnter() ABSL_LOCKS_EXCLUDED(mutex_);
  // For one with a thread of its own, which waits for `max_wait` at most, and never longer than
  // the options allow. Errors as OnTurn's.
  absl::StatusOr<Slot> Await(absl::Duration max_wait) ABSL_LOCKS_EXCLUDED(mutex_);

  // From now on nobody waits: all who do and all who Enter get `status`. Slots stay what they are,
  // as does TryEnter. Once.
  void Close(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);

  int limit() const { return options_.limit; }
  int taken() const ABSL_LOCKS_EXCLUDED(mutex_);
  int waiting() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Waiter {
    uint64_t held_bytes = 0;
    absl::Time end;  // of its patience, unless a thread waits, which sees to it itself
    OnTurn on_turn;
  };
  // In the order in which they came.
  using Line = std::map<Ticket, Waiter>;

  Ticket EnterLine(bool is_hurried, uint64_t held_bytes, OnTurn on_turn)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void GiveBack() ABSL_LOCKS_EXCLUDED(mutex_);
  bool MayWait(const Line& line, uint64_t held_bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  OnTurn Take(Line& line, Line::iterator waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Refusal() const;

  // In a thread of its own. Of waiting_.
  void RefuseLateOnes() ABSL_LOCKS_EXCLUDED(mutex_);
  bool IsStopped() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return is_stopped_; }
  bool HasWaiterOrIsStopped() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return is_stopped_ || !waiting_.empty();
  }

  const AdmissionQueueOptions options_;
  mutable absl::Mutex mutex_;
  int taken_ ABSL_GUARDED_BY(mutex_) = 0;  // the limit, while anybody waits
  Ticket last_ticket_ ABSL_GUARDED_BY(mutex_) = kNoTicket;
  // Patience ends in the order of the line.
  Line waiting_ ABSL_GUARDED_BY(mutex_);
  Line hurried_ ABSL_GUARDED_BY(mutex_);                   // of Await
  bool hurried_had_last_ ABSL_GUARDED_BY(mutex_) = false;  // the turn before
  uint64_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status closed_ ABSL_GUARDED_BY(mutex_);  // not OK: nobody waits
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread refusing_;
};

}  // namespace wdelta

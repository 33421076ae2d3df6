#include "server/rpc/admission_queue.h"

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;
using Slot = AdmissionQueue::Slot;
using Ticket = AdmissionQueue::Ticket;

constexpr int kMany = 100;

AdmissionQueueOptions Options(int limit, int max_waiting) {
  return {.limit = limit,
          .max_waiting = max_waiting,
          .max_waiting_bytes = 16'000,
          .max_wait = absl::Hours(1),
          .reason = "TOO_MANY_TESTS",
          .things = "tests"};
}

std::string CodeAndReason(const absl::Status& status) {
  return absl::StatusCodeToString(status.code()) + " " + ErrorReason(status);
}

constexpr char kRefused[] = "RESOURCE_EXHAUSTED TOO_MANY_TESTS";

// One who enters, and what became of it.
struct Guest {
  Ticket ticket = AdmissionQueue::kNoTicket;
  std::optional<Slot> slot;
  std::string refusal;
  int told = 0;
};

class AdmissionQueueTest : public ::testing::Test {
 protected:
  // In the order of the calls; goes on when it gets a place.
  Guest& Enter(AdmissionQueue& queue, uint64_t held_bytes = 0) {
    const size_t number = guests_.size();
    Guest& guest = *guests_.emplace_back(std::make_unique<Guest>());
    guest.ticket = queue.Enter(held_bytes, [this, number, &guest](absl::StatusOr<Slot> slot) {
      ++guest.told;
      if (!slot.ok()) {
        guest.refusal = CodeAndReason(slot.status());
        return;
      }
      guest.slot.emplace(*std::move(slot));
      admitted_.push_back(number);
    });
    return guest;
  }

  std::vector<std::unique_ptr<Guest>> guests_;
  std::vector<size_t> admitted_;  // guests, in order
};

TEST_F(AdmissionQueueTest, TurnsComeInTheOrderOfEntering) {
  AdmissionQueue queue(Options(2, kMany));
  for (int i = 0; i < 6; ++i) Enter(queue);
  EXPECT_THAT(admitted_, ElementsAre(0, 1));
  EXPECT_EQ(queue.taken(), 2);
  EXPECT_EQ(queue.waiting(), 4);
  guests_[1]->slot.reset();
  guests_[0]->slot.reset();
  guests_[3]->slot.reset();
  EXPECT_THAT(admitted_, ElementsAre(0, 1, 2, 3, 4));
  guests_[2]->slot.reset();
  guests_[4]->slot.reset();
  EXPECT_THAT(admitted_, ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_EQ(queue.taken(), 1);
  guests_[5]->slot.reset();
  EXPECT_EQ(queue.taken(), 0);
  EXPECT_EQ(queue.waiting(), 0);
}

TEST_F(AdmissionQueueTest, NobodyOvertakesThoseWhoWait) {
  AdmissionQueue queue(Options(1, kMany));
  std::optional<Slot> first = queue.TryEnter();
  ASSERT_TRUE(first.has_value());
  // Comes at the moment at which the place is given on.
  bool has_overtaken = false;
  std::optional<Slot> given;
  queue.Enter(0, [&](absl::StatusOr<Slot> slot) {
    has_overtaken = queue.TryEnter().has_value();
    given.emplace(*std::move(slot));
  });
  EXPECT_FALSE(queue.TryEnter().has_value());
  first.reset();
  EXPECT_TRUE(given.has_value());
  EXPECT_FALSE(has_overtaken);
  EXPECT_FALSE(queue.TryEnter().has_value());
  given.reset();
  EXPECT_TRUE(queue.TryEnter().has_value());
}

TEST_F(AdmissionQueueTest, APlaceThatIsNotTakenGoesToTheNext) {
  AdmissionQueue queue(Options(1, kMany));
  std::optional<Slot> first = queue.TryEnter();
  int dropped = 0;
  for (int i = 0; i < kMany; ++i) queue.Enter(0, [&](absl::StatusOr<Slot>) { ++dropped; });
  first.reset();
  EXPECT_EQ(dropped, kMany);
  EXPECT_EQ(queue.taken(), 0);
}

TEST_F(AdmissionQueueTest, MoreThanMayWaitAreRefusedAtOnce) {
  AdmissionQueue queue(Options(1, 2));
  for (int i = 0; i < 4; ++i) Enter(queue);
  EXPECT_EQ(guests_[3]->refusal, kRefused);
  EXPECT_EQ(queue.waiting(), 2);
  // As soon as one has gone on, another may wait.
  guests_[0]->slot.reset();
  EXPECT_EQ(Enter(queue).told, 0);
  EXPECT_EQ(Enter(queue).refusal, kRefused);

  AdmissionQueue nobody_waits(Options(1, 0));
  EXPECT_TRUE(Enter(nobody_waits).slot.has_value());
  EXPECT_EQ(Enter(nobody_waits).refusal, kRefused);
  EXPECT_EQ(CodeAndReason(nobody_waits.Await(absl::Hours(1)).status()), kRefused);
  for (const auto& guest : guests_) guest->slot.reset();
  for (const auto& guest : guests_) guest->slot.reset();  // those who had their turn by that
}

TEST_F(AdmissionQueueTest, BytesOfThoseWhoWaitAreBounded) {
  AdmissionQueue queue(Options(1, kMany));
  EXPECT_TRUE(Enter(queue, 1'000'000).slot.has_value());  // does not wait
  const Ticket first = Enter(queue, 600).ticket;
  for (int i = 0; i < 15; ++i) EXPECT_EQ(Enter(queue, 1000).told, 0) << i;
  EXPECT_EQ(Enter(queue, 401).refusal, kRefused);
  EXPECT_EQ(Enter(queue, 400).told, 0);
  EXPECT_EQ(Enter(queue, 1).refusal, kRefused);
  EXPECT_TRUE(queue.Leave(first));
  EXPECT_EQ(Enter(queue, 600).told, 0);
  for (const auto& guest : guests_) guest->slot.reset();
  EXPECT_EQ(queue.waiting(), 0);
}

TEST_F(AdmissionQueueTest, NobodyTakesTheRoomOfAllWhoWait) {
  AdmissionQueue queue(Options(1, kMany));
  Enter(queue);
  EXPECT_EQ(Enter(queue, 1001).refusal, kRefused);
  EXPECT_EQ(Enter(queue, UINT64_MAX).refusal, kRefused);
  EXPECT_EQ(Enter(queue, 1000).told, 0);
  for (const auto& guest : guests_) guest->slot.reset();
}

TEST_F(AdmissionQueueTest, WhoLeavesIsNotTold) {
  AdmissionQueue queue(Options(1, kMany));
  for (int i = 0; i < 4; ++i) Enter(queue);
  EXPECT_FALSE(queue.Leave(AdmissionQueue::kNoTicket));
  EXPECT_FALSE(queue.Leave(guests_[0]->ticket));  // never waited
  EXPECT_TRUE(queue.Leave(guests_[1]->ticket));
  EXPECT_FALSE(queue.Leave(guests_[1]->ticket));
  EXPECT_TRUE(queue.Leave(guests_[3]->ticket));
  guests_[0]->slot.reset();
  EXPECT_FALSE(queue.Leave(guests_[2]->ticket));  // goes on
  EXPECT_THAT(admitted_, ElementsAre(0, 2));
  EXPECT_EQ(guests_[1]->told, 0);
  EXPECT_EQ(guests_[3]->told, 0);
  guests_[2]->slot.reset();
}

TEST_F(AdmissionQueueTest, WhatIsHeldForOneWhoLeavesGoesWithIt) {
  AdmissionQueue queue(Options(1, kMany));
  const std::optional<Slot> first = queue.TryEnter();
  const auto held = std::make_shared<int>(0);
  const Ticket ticket = queue.Enter(0, [held](const absl::StatusOr<Slot>&) {});
  EXPECT_EQ(held.use_count(), 2);
  EXPECT_TRUE(queue.Leave(ticket));
  EXPECT_EQ(held.use_count(), 1);
}

TEST_F(AdmissionQueueTest, PatienceEnds) {
  constexpr absl::Duration kPatience = absl::Milliseconds(20);
  AdmissionQueueOptions options = Options(1, kMany);
  options.max_wait = kPatience;
  AdmissionQueue queue(options);
  for (int round = 0; round < 3; ++round) {
    std::optional<Slot> slot = queue.TryEnter();
    ASSERT_TRUE(slot.has_value());
    const absl::Time begin = absl::Now();
    std::atomic<int> refused = 0;
    absl::Notification all;
    std::vector<std::string> outcomes(3);
    for (std::string& outcome : outcomes) {
      queue.Enter(0, [&](const absl::StatusOr<Slot>& told) {
        outcome = CodeAndReason(told.status());
        if (++refused == 3) all.Notify();
      });
    }
    all.WaitForNotification();
    EXPECT_GE(absl::Now() - begin, kPatience);
    EXPECT_THAT(outcomes, ElementsAre(kRefused, kRefused, kRefused));
    EXPECT_EQ(queue.waiting(), 0);
  }
}

TEST_F(AdmissionQueueTest, CloseTellsAllWhoWaitOrCome) {
  AdmissionQueue queue(Options(2, kMany));
  for (int i = 0; i < 4; ++i) Enter(queue);
  queue.Close(MakeError(absl::StatusCode::kUnavailable, "STOPPING", "stopping"));
  EXPECT_EQ(guests_[2]->refusal, "UNAVAILABLE STOPPING");
  EXPECT_EQ(guests_[3]->refusal, "UNAVAILABLE STOPPING");
  EXPECT_EQ(queue.waiting(), 0);
  EXPECT_EQ(queue.taken(), 2);
  guests_[0]->slot.reset();
  EXPECT_EQ(Enter(queue).refusal, "UNAVAILABLE STOPPING");
  EXPECT_EQ(CodeAndReason(queue.Await(absl::Hours(1)).status()), "UNAVAILABLE STOPPING");
  EXPECT_TRUE(queue.TryEnter().has_value());
  guests_[1]->slot.reset();
  for (const auto& guest : guests_) EXPECT_EQ(guest->told, 1);
}

TEST_F(AdmissionQueueTest, AThreadMayWaitForItsTurn) {
  AdmissionQueue queue(Options(1, kMany));
  std::optional<Slot> first = queue.TryEnter();
  EXPECT_EQ(CodeAndReason(queue.Await(absl::Milliseconds(1)).status()), kRefused);
  EXPECT_EQ(queue.waiting(), 0);
  std::thread waiter([&queue] { EXPECT_TRUE(queue.Await(absl::Hours(1)).ok()); });
  while (queue.waiting() == 0) std::this_thread::yield();
  first.reset();
  waiter.join();
  EXPECT_EQ(queue.taken(), 0);
}

// A thread that waits, and keeps its place until it is let go.
class Hurried {
 public:
  explicit Hurried(AdmissionQueue* queue)
      : queue_(*queue), waiting_before_(queue->waiting()), thread_([this] { Run(); }) {
    while (queue_.waiting() == waiting_before_) std::this_thread::yield();
  }

  bool AwaitTurn() { return has_turn_.WaitForNotificationWithTimeout(kLongest); }
  // Returns when the next has been told of its turn.
  void LetGo() {
    may_go_.Notify();
    thread_.join();
  }

 private:
  static constexpr absl::Duration kLongest = absl::Seconds(30);

  void Run() {
    const absl::StatusOr<Slot> slot = queue_.Await(kLongest);
    EXPECT_TRUE(slot.ok()) << slot.status();
    has_turn_.Notify();
    may_go_.WaitForNotification();
  }

  AdmissionQueue& queue_;
  const int waiting_before_;
  absl::Notification has_turn_, may_go_;
  std::thread thread_;
};

TEST_F(AdmissionQueueTest, ThreadsAndOthersHaveTheirTurnsByTurns) {
  AdmissionQueue queue(Options(1, kMany));
  for (int i = 0; i < 3; ++i) Enter(queue);
  Hurried first(&queue), second(&queue), third(&queue), fourth(&queue);
  EXPECT_EQ(queue.waiting(), 6);

  guests_[0]->slot.reset();
  EXPECT_TRUE(first.AwaitTurn());
  EXPECT_THAT(admitted_, ElementsAre(0));
  first.LetGo();
  EXPECT_THAT(admitted_, ElementsAre(0, 1));
  guests_[1]->slot.reset();
  EXPECT_TRUE(second.AwaitTurn());
  EXPECT_THAT(admitted_, ElementsAre(0, 1));
  second.LetGo();
  EXPECT_THAT(admitted_, ElementsAre(0, 1, 2));
  guests_[2]->slot.reset();
  // Where nobody else waits, one thread behind the other.
  EXPECT_TRUE(third.AwaitTurn());
  third.LetGo();
  EXPECT_TRUE(fourth.AwaitTurn());
  fourth.LetGo();
  EXPECT_EQ(queue.taken(), 0);
  EXPECT_EQ(queue.waiting(), 0);
}

TEST_F(AdmissionQueueTest, AFullLineLeavesRoomInTheOther) {
  AdmissionQueue queue(Options(1, 2));
  for (int i = 0; i < 3; ++i) Enter(queue);
  EXPECT_EQ(Enter(queue).refusal, kRefused);
  Hurried first(&queue), second(&queue);
  EXPECT_EQ(queue.waiting(), 4);
  EXPECT_EQ(CodeAndReason(queue.Await(absl::Hours(1)).status()), kRefused);
  guests_[0]->slot.reset();
  EXPECT_TRUE(first.AwaitTurn());
  first.LetGo();
  guests_[1]->slot.reset();
  EXPECT_TRUE(second.AwaitTurn());
  second.LetGo();
  guests_[2]->slot.reset();
  EXPECT_EQ(queue.taken(), 0);
}

TEST_F(AdmissionQueueTest, AThreadWaitsNoLongerThanTheOptionsAllow) {
  AdmissionQueueOptions options = Options(1, kMany);
  options.max_wait = absl::Milliseconds(20);
  AdmissionQueue queue(options);
  const std::optional<Slot> first = queue.TryEnter();
  EXPECT_EQ(CodeAndReason(queue.Await(absl::InfiniteDuration()).status()), kRefused);
}

TEST_F(AdmissionQueueTest, CloseTellsThreadsThatWait) {
  AdmissionQueue queue(Options(1, kMany));
  const std::optional<Slot> first = queue.TryEnter();
  std::string outcome;
  std::thread waiter(
      [&] { outcome = CodeAndReason(queue.Await(absl::InfiniteDuration()).status()); });
  while (queue.waiting() == 0) std::this_thread::yield();
  queue.Close(MakeError(absl::StatusCode::kUnavailable, "STOPPING", "stopping"));
  waiter.join();
  EXPECT_EQ(outcome, "UNAVAILABLE STOPPING");
  EXPECT_EQ(queue.waiting(), 0);
}

}  // namespace
}  // namespace wdelta::testing

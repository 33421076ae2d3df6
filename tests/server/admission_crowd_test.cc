// Many threads that enter a queue, leave it and give their places back, all at once.
#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/rpc/admission_queue.h"
#include "tests/support/test_seed.h"

namespace wdelta::testing {
namespace {

using Slot = AdmissionQueue::Slot;
using Ticket = AdmissionQueue::Ticket;

// What one test of many threads counts.
struct Crowd {
  explicit Crowd(AdmissionQueueOptions options) : limit(options.limit), queue(options) {}

  const int limit;
  AdmissionQueue queue;
  std::atomic<int> inside = 0;
  std::atomic<int> most_inside = 0;
  std::atomic<int> entered = 0, admitted = 0, refused = 0, left = 0;
};

// Enters and leaves at random, and gives its places back later, as streams do that end in other
// threads than those in which they begin.
class Member {
 public:
  Member(Crowd* crowd, uint32_t seed) : crowd_(*crowd), random_(seed) {}

  void Run(int steps) {
    std::vector<std::shared_ptr<Visit>> visits;
    for (int i = 0; i < steps; ++i) {
      if (random_() % 4 == 0) AwaitOne();
      if (visits.empty() || random_() % 2 == 0) visits.push_back(Enter());
      const size_t chosen = random_() % visits.size();
      const std::shared_ptr<Visit> visit = visits[chosen];
      if (random_() % 3 == 0 && crowd_.queue.Leave(visit->ticket)) {
        ++crowd_.left;
        EXPECT_FALSE(visit->is_over.HasBeenNotified());
        visits.erase(visits.begin() + static_cast<ptrdiff_t>(chosen));
      } else if (End(*visit)) {
        visits.erase(visits.begin() + static_cast<ptrdiff_t>(chosen));
      }
    }
    while (!visits.empty()) {
      for (const std::shared_ptr<Visit>& visit : visits) End(*visit);
      std::erase_if(visits, [](const std::shared_ptr<Visit>& visit) {
        return visit->is_over.HasBeenNotified() && !visit->slot.has_value();
      });
      std::this_thread::yield();
    }
  }

 private:
  struct Visit {
    Ticket ticket = AdmissionQueue::kNoTicket;
    std::optional<Slot> slot;  // of its thread, once is_over
    absl::Notification is_over;
  };

  std::shared_ptr<Visit> Enter() {
    auto visit = std::make_shared<Visit>();
    ++crowd_.entered;
    visit->ticket =
        crowd_.queue.Enter(random_() % 1200, [visit, crowd = &crowd_](absl::StatusOr<Slot> slot) {
          if (slot.ok()) {
            Note(*crowd);
            visit->slot.emplace(*std::move(slot));
          } else {
            ++crowd->refused;
          }
          visit->is_over.Notify();
        });
    return visit;
  }

  void AwaitOne() {
    ++crowd_.entered;
    const absl::StatusOr<Slot> slot = crowd_.queue.Await(absl::Microseconds(random_() % 200));
    if (slot.ok()) {
      Note(crowd_);
      --crowd_.inside;
    } else {
      ++crowd_.refused;
    }
  }

  // False: it waits.
  bool End(Visit& visit) {
    if (!visit.is_over.HasBeenNotified()) return false;
    if (visit.slot.has_value()) --crowd_.inside;
    visit.slot.reset();
    return true;
  }

  static void Note(Crowd& crowd) {
    ++crowd.admitted;
    const int inside = ++crowd.inside;
    int most = crowd.most_inside;
    while (inside > most && !crowd.most_inside.compare_exchange_weak(most, inside)) {
    }
  }

  Crowd& crowd_;
  std::mt19937 random_;
};

void RunCrowd(Crowd& crowd, uint32_t seed, bool closes) {
  constexpr int kThreads = 6;
  constexpr int kSteps = 300;
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&crowd, seed, i] { Member(&crowd, seed * 100 + i).Run(kSteps); });
  }
  if (closes) {
    while (crowd.admitted < kSteps / 4) std::this_thread::yield();
    crowd.queue.Close(absl::UnavailableError("stopping"));
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(crowd.queue.taken(), 0);
  EXPECT_EQ(crowd.queue.waiting(), 0);
  EXPECT_EQ(crowd.inside, 0);
  EXPECT_LE(crowd.most_inside, crowd.limit);
  // Each was told, or left, and never both.
  EXPECT_EQ(crowd.entered, crowd.admitted + crowd.refused + crowd.left);
  EXPECT_GT(crowd.admitted, 0);
}

TEST(AdmissionCrowd, ThreadsMayDoEverythingAtOnce) {
  const uint32_t first = TestSeed();
  for (uint32_t seed = first; seed < first + 12; ++seed) {
    SCOPED_TRACE(SeedTrace(seed));
    AdmissionQueueOptions options{.limit = 1 + static_cast<int>(seed % 4),
                                  .max_waiting = 5,
                                  .max_waiting_bytes = 16'000,
                                  .max_wait = absl::Hours(1)};
    // Within the time of a step, so that patience ends amid everything else.
    if (seed % 3 == 0) options.max_wait = absl::Microseconds(50);
    Crowd crowd(options);
    RunCrowd(crowd, seed, seed % 2 == 0);
  }
}

}  // namespace
}  // namespace wdelta::testing

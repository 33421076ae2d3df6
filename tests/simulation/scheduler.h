// Actors that take turns in an order drawn from a seed.
//
// Each actor has a thread, but only one of them runs at a time: it hands over to another at
// its own points, never in between. What happens is therefore the same whenever the draws are.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "storage/base/waiting.h"
#include "tests/simulation/random.h"
#include "tests/simulation/trace.h"
#include "tests/support/manual_clock.h"

namespace wdelta::testing {

struct SchedulerOptions {
  uint64_t switch_one_in = 4;  // points at which another actor goes on
  // Points at which the actor is left where it is for a long time; 0: none.
  uint64_t freeze_one_in = 0;
  uint64_t max_frozen_points = 300;
};

class Scheduler final : public Waiting {
 public:
  // Owns none of them; uses them in the thread whose turn it is.
  Scheduler(Random* random, ManualClock* clock, Trace* trace, const SchedulerOptions& options);
  ~Scheduler() override;
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Before Run.
  void Add(std::string name, std::function<void()> body);
  // Lets all actors run to their ends.
  void Run();

  // Whether the calling thread is an actor of any scheduler; others must not call what follows.
  static bool IsActor();
  static const std::string& ActorName();
  // Faults that the calling actor has met.
  static uint64_t& Faults();

  // Another actor may go on here.
  void Point();
  // Time goes on by itself when all sleep. `wakes`: WakeWatchers ends it, too.
  void SleepUntil(absl::Time time, bool wakes);
  void WakeWatchers();
  void WakeAll();
  // Others go on until `condition` holds. That it never does is a deadlock, which ends the
  // process with the trace's last lines.
  void Await(absl::Mutex& mutex, const absl::Condition& condition) override;

 private:
  struct Actor;

  // An actor that can go on, other than `excluded`; null: none, now or later.
  Actor* Pick(const Actor* excluded);
  void SwitchTo(Actor* next);
  void RunActor(Actor* actor);
  [[noreturn]] void DieOfDeadlock();

  Random& random_;
  ManualClock& clock_;
  Trace& trace_;
  const SchedulerOptions options_;
  std::vector<std::unique_ptr<Actor>> actors_;
  std::unique_ptr<Actor> main_;  // the thread that calls Run
  uint64_t points_ = 0;
};

}  // namespace wdelta::testing

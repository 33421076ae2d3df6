#include "tests/simulation/scheduler.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace wdelta::testing {
namespace {

constexpr size_t kLinesOfDeadlock = 100;

// What a thread waits for until it is its turn. std::binary_semaphore of GCC 12 may sleep for
// ever (its bug 104928).
class Turn {
 public:
  void Give() {
    const std::lock_guard lock(mutex_);
    is_given_ = true;
    given_.notify_one();
  }
  void Take() {
    std::unique_lock lock(mutex_);
    given_.wait(lock, [this] { return is_given_; });
    is_given_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable given_;
  bool is_given_ = false;
};

}  // namespace

struct Scheduler::Actor {
  std::string name;
  std::function<void()> body;
  std::thread thread;
  Turn turn;
  bool has_ended = false;
  absl::Time wake_time = absl::InfinitePast();
  bool wakes = false;
  uint64_t frozen_until = 0;  // a number of points
  uint64_t faults = 0;

  // Of the calling thread.
  static thread_local Actor* current;
};

thread_local Scheduler::Actor* Scheduler::Actor::current = nullptr;

Scheduler::Scheduler(Random* random, ManualClock* clock, Trace* trace,
                     const SchedulerOptions& options)
    : random_(*random),
      clock_(*clock),
      trace_(*trace),
      options_(options),
      main_(std::make_unique<Actor>()) {}

Scheduler::~Scheduler() = default;

void Scheduler::Add(std::string name, std::function<void()> body) {
  auto actor = std::make_unique<Actor>();
  actor->name = std::move(name);
  actor->body = std::move(body);
  actors_.push_back(std::move(actor));
}

void Scheduler::Run() {
  for (const auto& actor : actors_) {
    actor->thread = std::thread([this, one = actor.get()] { RunActor(one); });
  }
  if (Actor* const first = Pick(nullptr); first != nullptr) {
    first->turn.Give();
    main_->turn.Take();
  }
  for (const auto& actor : actors_) actor->thread.join();
  actors_.clear();
}

void Scheduler::RunActor(Actor* actor) {
  actor->turn.Take();
  Actor::current = actor;
  actor->body();
  Actor::current = nullptr;
  actor->has_ended = true;
  const bool all_ended = std::all_of(actors_.begin(), actors_.end(),
                                     [](const auto& other) { return other->has_ended; });
  Actor* const next = all_ended ? main_.get() : Pick(nullptr);
  if (next == nullptr) DieOfDeadlock();
  next->turn.Give();
}

bool Scheduler::IsActor() { return Actor::current != nullptr; }
const std::string& Scheduler::ActorName() { return Actor::current->name; }
uint64_t& Scheduler::Faults() { return Actor::current->faults; }

Scheduler::Actor* Scheduler::Pick(const Actor* excluded) {
  while (true) {
    const absl::Time now = clock_.Now();
    std::vector<Actor*> ready;
    std::vector<Actor*> frozen;
    absl::Time next_wake = absl::InfiniteFuture();
    for (const auto& actor : actors_) {
      if (actor->has_ended || actor.get() == excluded) continue;
      if (actor->wake_time > now) {
        next_wake = std::min(next_wake, actor->wake_time);
      } else {
        (actor->frozen_until > points_ ? frozen : ready).push_back(actor.get());
      }
    }
    if (ready.empty()) ready = std::move(frozen);
    if (!ready.empty()) return ready[random_.Below(ready.size())];
    if (next_wake == absl::InfiniteFuture()) return nullptr;
    clock_.AdvanceTo(next_wake);
  }
}

void Scheduler::SwitchTo(Actor* next) {
  Actor* const self = Actor::current;
  if (next == self) return;
  next->turn.Give();
  self->turn.Take();
}

void Scheduler::Point() {
  ++points_;
  if (random_.OneIn(options_.freeze_one_in)) {
    Actor::current->frozen_until = points_ + 1 + random_.Below(options_.max_frozen_points);
  } else if (!random_.OneIn(options_.switch_one_in)) {
    return;
  }
  SwitchTo(Pick(nullptr));
}

void Scheduler::SleepUntil(absl::Time time, bool wakes) {
  ++points_;
  Actor* const self = Actor::current;
  self->wake_time = time;
  self->wakes = wakes;
  Actor* const next = Pick(nullptr);
  if (next == nullptr) DieOfDeadlock();
  SwitchTo(next);
}

void Scheduler::WakeWatchers() {
  for (const auto& actor : actors_) {
    if (actor->wakes) actor->wake_time = absl::InfinitePast();
  }
}

void Scheduler::WakeAll() {
  for (const auto& actor : actors_) actor->wake_time = absl::InfinitePast();
}

void Scheduler::Await(absl::Mutex& mutex,
                      const absl::Condition& condition) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  while (!condition.Eval()) {
    if (!IsActor()) DieOfDeadlock();
    mutex.Unlock();
    ++points_;
    Actor* const next = Pick(Actor::current);
    if (next == nullptr) DieOfDeadlock();
    SwitchTo(next);
    mutex.Lock();
  }
}

void Scheduler::DieOfDeadlock() {
  const size_t count = std::min(kLinesOfDeadlock, trace_.lines().size());
  for (size_t i = trace_.lines().size() - count; i < trace_.lines().size(); ++i) {
    std::fprintf(stderr, "%s\n", trace_.lines()[i].c_str());
  }
  std::fprintf(stderr, "simulation: deadlock: every actor waits for another\n");
  std::abort();
}

}  // namespace wdelta::testing

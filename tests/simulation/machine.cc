#include "tests/simulation/machine.h"

#include <iterator>

#include "absl/strings/str_cat.h"

namespace wdelta::testing {
namespace {

absl::string_view NameOf(Fate fate) {
  switch (fate) {
    case Fate::kWorks:
      return "";
    case Fate::kFails:
      return " FAILS";
    case Fate::kHappensAndFails:
      return " HAPPENS, FAILS";
    case Fate::kDiskIsFull:
      return " FULL";
    case Fate::kDaemonIsDead:
      return " DEAD";
  }
  return "";
}

}  // namespace

absl::Status DaemonIsDead() { return absl::UnavailableError("the daemon is dead"); }

void Machine::BeginLife(Scheduler* scheduler, const FaultRates& faults, uint64_t crash_after) {
  scheduler_ = scheduler;
  rates_ = faults;
  ++life_;
  is_dead_ = false;
  full_until_ = 0;
  dies_at_ = crash_after == 0 ? 0 : operations_ + crash_after;
  trace.Add(absl::StrCat("life ", life_));
}

void Machine::EndActors() { scheduler_ = nullptr; }

void Machine::Kill() {
  is_dead_ = true;
  trace.Add("the daemon dies");
  if (scheduler_ != nullptr) scheduler_->WakeAll();
}

Fate Machine::Draw(Device device, Access access) {
  if (rates_.full_one_in > 0 && full_until_ < operations_ && random.OneIn(rates_.full_one_in)) {
    full_until_ = operations_ + 1 + random.Below(rates_.max_full_operations);
  }
  if (full_until_ > operations_ && access == Access::kWrite &&
      random.OneIn(device == Device::kFile ? 2 : 8)) {
    return Fate::kDiskIsFull;
  }
  const uint64_t one_in = device == Device::kFile   ? rates_.file_one_in
                          : device == Device::kBlob ? rates_.blob_one_in
                                                    : rates_.catalog_one_in;
  if (!random.OneIn(one_in)) return Fate::kWorks;
  const bool happens = access == Access::kWrite && random.OneIn(rates_.happened_one_in);
  return happens ? Fate::kHappensAndFails : Fate::kFails;
}

void Machine::LetOthersGoOn(Device device, Access access, absl::string_view operation) {
  // A few operations of another, a job, or a pause of a client.
  constexpr uint64_t kSlowMs[] = {2, 20, 500, 10'000};
  const bool is_delete = device == Device::kBlob && operation == "delete";
  const uint64_t one_in = is_delete ? rates_.slow_delete_one_in : rates_.slow_one_in;
  if (device != Device::kFile && access == Access::kWrite && random.OneIn(one_in)) {
    // The same content may come again meanwhile, as an upload and as a job.
    constexpr uint64_t kSlowDeleteMs = 30'000;
    const uint64_t max_ms = is_delete ? kSlowDeleteMs : kSlowMs[random.Below(std::size(kSlowMs))];
    const absl::Duration pause = absl::Microseconds(1 + random.Below(max_ms * 1000));
    scheduler_->SleepUntil(clock.Now() + pause, false);
  } else {
    scheduler_->Point();
  }
}

Fate Machine::Ask(uint64_t life, Device device, Access access, absl::string_view operation,
                  absl::string_view subject) {
  if (life != life_ || is_dead_) return Fate::kDaemonIsDead;
  if (scheduler_ == nullptr || !Scheduler::IsActor()) return Fate::kWorks;
  LetOthersGoOn(device, access, operation);
  if (life != life_ || is_dead_) return Fate::kDaemonIsDead;
  ++operations_;
  clock.Advance(absl::Microseconds(random.Below(rates_.max_operation_us + 1)));
  if (random.OneIn(rates_.stall_one_in)) clock.Advance(absl::Minutes(2));
  Fate fate = Fate::kWorks;
  if (operations_ == dies_at_) {
    Kill();
    fate = Fate::kDaemonIsDead;
  } else {
    fate = Draw(device, access);
  }
  if (fate != Fate::kWorks) {
    ++Scheduler::Faults();
    ++faults_met_;
  }
  trace.Add(absl::StrCat(operations_, " ", Scheduler::ActorName(), ": ", operation, " ", subject,
                         NameOf(fate)));
  return fate;
}

bool Machine::LookAtFullDisk(uint64_t life) {
  if (life != life_ || is_dead_ || scheduler_ == nullptr || !Scheduler::IsActor()) return false;
  const bool is_full = full_until_ > operations_;
  if (is_full) ++Scheduler::Faults();
  return is_full;
}

}  // namespace wdelta::testing

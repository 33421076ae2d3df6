// The machine on which a simulated daemon runs: its clock, its bad luck, and when it dies.
//
// Every operation of the daemon on disk, blobs or catalog asks here what becomes of it.
// A daemon has one life; after its end each of its operations fails, so that its calls come
// back, and changes nothing.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tests/simulation/random.h"
#include "tests/simulation/scheduler.h"
#include "tests/simulation/trace.h"
#include "tests/support/manual_clock.h"

namespace wdelta::testing {

// Of operations that go wrong, one in so many; 0: none.
struct FaultRates {
  uint64_t file_one_in = 0;
  uint64_t blob_one_in = 0;
  uint64_t catalog_one_in = 0;
  // Writes that happen though they are answered by an error, of those that go wrong.
  uint64_t happened_one_in = 0;
  // Operations after which the disk is full for a while.
  uint64_t full_one_in = 0;
  uint64_t max_full_operations = 400;
  uint64_t max_operation_us = 2'000;
  // Operations that take so long that jobs lose their leases, as of a machine that slept.
  uint64_t stall_one_in = 0;
  // Writes of blobs and catalog that come late, while the others go on: what they were decided
  // on may have changed by then.
  uint64_t slow_one_in = 0;
  uint64_t slow_delete_one_in = 0;  // likewise, of blobs
};

enum class Device { kFile, kBlob, kCatalog };
enum class Access { kRead, kWrite };

// What becomes of an operation.
enum class Fate {
  kWorks,
  kFails,
  kHappensAndFails,  // of writes
  kDiskIsFull,       // of writes
  kDaemonIsDead,
};

absl::Status DaemonIsDead();

// Used in the thread whose turn it is.
class Machine {
 public:
  explicit Machine(uint64_t seed) : random(seed) {}

  // A new life begins; with it, a new scheduler. `crash_after`: operations until it dies; 0:
  // it does not.
  void BeginLife(Scheduler* scheduler, const FaultRates& faults, uint64_t crash_after);
  // Threads that are no actors may go on using the storage, without any fault.
  void EndActors();
  bool is_dead() const { return is_dead_; }
  uint64_t life() const { return life_; }
  uint64_t operations() const { return operations_; }
  uint64_t faults() const { return faults_met_; }

  Fate Ask(uint64_t life, Device device, Access access, absl::string_view operation,
           absl::string_view subject);
  // Whether there is no space now.
  bool LookAtFullDisk(uint64_t life);
  void Kill();

  ManualClock clock;
  Random random;
  Trace trace;

 private:
  Fate Draw(Device device, Access access);
  // Lets others go on before the operation, for a time that suits what they do.
  void LetOthersGoOn(Device device, Access access, absl::string_view operation);

  Scheduler* scheduler_ = nullptr;
  FaultRates rates_;
  uint64_t life_ = 0;
  bool is_dead_ = false;
  uint64_t operations_ = 0;  // of all lives
  uint64_t dies_at_ = 0;
  uint64_t full_until_ = 0;
  uint64_t faults_met_ = 0;
};

}  // namespace wdelta::testing

#include "tests/simulation/simulation.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "storage/base/limits.h"
#include "storage/blobs/memory_blob_store.h"
#include "storage/catalog/memory_catalog.h"
#include "storage/engine/model_store.h"
#include "tests/simulation/checks.h"
#include "tests/simulation/client.h"
#include "tests/simulation/machine.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/scheduler.h"
#include "tests/simulation/simulated_disk.h"
#include "tests/simulation/simulated_storage.h"

namespace wdelta::testing {
namespace {

constexpr char kStagingDir[] = "/staging";
constexpr size_t kMaxFailures = 20;
constexpr uint64_t kMaxOperations = 2'000'000;  // then it has no end
constexpr int kMaxStarts = 30;                  // of a daemon that meets faults
constexpr absl::Duration kWorkerPause = absl::Minutes(10);
constexpr int kMaxDrainRounds = 12;

// What the seed decides at first.
struct Plan {
  explicit Plan(Random& random) {
    client_count = 1 + static_cast<int>(random.Below(4));
    worker_count = 1 + static_cast<int>(random.Below(3));
    lives = 1 + static_cast<int>(random.Below(4));
    steps = 2 + static_cast<int>(random.Below(10));
    crash_within = 40 + random.Below(3000);
    constexpr uint64_t kFaultsOneIn[] = {0, 0, 1000, 150};
    faults.file_one_in = kFaultsOneIn[random.Below(4)];
    faults.blob_one_in = kFaultsOneIn[random.Below(4)];
    faults.catalog_one_in = kFaultsOneIn[random.Below(4)];
    faults.happened_one_in = random.OneIn(2) ? 2 : 0;
    faults.full_one_in = random.OneIn(4) ? 1500 : 0;
    faults.max_operation_us = random.OneIn(2) ? 200 : 5'000;
    constexpr uint64_t kSwitchOneIn[] = {1, 3, 10, 40};
    scheduler.switch_one_in = kSwitchOneIn[random.Below(4)];
    scheduler.freeze_one_in = random.OneIn(2) ? 60 : 0;
    clients.upload_ttl = random.OneIn(2) ? absl::Hours(1) : absl::InfiniteDuration();
    clients.merges = random.OneIn(3);
    clients.loses = random.OneIn(4);
    clients.has_retention = random.OneIn(4);
    clients.cancels_jobs = random.OneIn(4);
    faults.stall_one_in = random.OneIn(4) ? 200 : 0;
    constexpr uint64_t kSlowOneIn[] = {0, 0, 40, 8};
    faults.slow_one_in = kSlowOneIn[random.Below(4)];
    if (random.OneIn(3)) {  // several who want the same blobs at the same time
      clients.repeats_content = true;
      clients.max_models = 1 + random.Below(3);
      faults.slow_delete_one_in = random.Below(3);
      client_count = std::max(client_count, 2);
      worker_count = std::max(worker_count, 2);
    }
    max_chain_depth = 1 + static_cast<uint32_t>(random.Below(4));
  }

  int client_count;
  int worker_count;
  int lives;
  int steps;  // of each client in a life
  uint64_t crash_within;
  FaultRates faults;
  SchedulerOptions scheduler;
  ClientOptions clients;
  uint32_t max_chain_depth;
};

// One run of the daemon over what the disk holds.
struct Daemon {
  std::unique_ptr<Scheduler> scheduler;
  std::unique_ptr<FileSystem> files;
  std::unique_ptr<SimulatedBlobStore> blobs;
  std::unique_ptr<SimulatedCatalog> catalog;
  std::unique_ptr<ModelStore> store;
  int running_clients = 0;
  bool is_stopping = false;
};

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : machine_(seed), plan_(machine_.random) {
    SimulatedDisk::NodePtr root = disk_.Find("");
    auto staging = std::make_shared<SimulatedDisk::Node>();
    staging->is_folder = true;
    root->entries[SimulatedDisk::NameOf(kStagingDir)] = staging;
    root->synced_entries = root->entries;
    for (int i = 0; i < plan_.client_count; ++i) {
      clients_.push_back(std::make_unique<SimulatedClient>(
          i, &machine_, &oracle_, plan_.clients, [this](const std::string& why) { Fail(why); }));
    }
  }

  SimulationReport Run() {
    for (int life = 0; life < plan_.lives && !IsOver(); ++life) Live();
    if (!IsOver()) DrainAndDelete();
    report_.trace_hash = machine_.trace.hash();
    report_.trace = machine_.trace.lines();
    report_.operations = machine_.operations();
    report_.faults = machine_.faults();
    report_.models = oracle_.models.size() + oracle_.deleted.size();
    return std::move(report_);
  }

 private:
  bool IsOver() const { return !report_.failures.empty(); }

  void Fail(const std::string& why) {
    machine_.trace.Add(absl::StrCat("FAILURE: ", why));
    if (report_.failures.size() < kMaxFailures) report_.failures.push_back(why);
  }

  // A daemon that has recovered, or died of it.
  std::unique_ptr<Daemon> Start(const FaultRates& faults, uint64_t crash_after) {
    auto daemon = std::make_unique<Daemon>();
    daemon->scheduler = std::make_unique<Scheduler>(&machine_.random, &machine_.clock,
                                                    &machine_.trace, plan_.scheduler);
    machine_.BeginLife(daemon->scheduler.get(), faults, crash_after);
    daemon->files = NewSimulatedFileSystem(&disk_, &machine_);
    daemon->blobs = std::make_unique<SimulatedBlobStore>(&blobs_, &machine_);
    daemon->catalog = std::make_unique<SimulatedCatalog>(
        &catalog_, &machine_, [scheduler = daemon->scheduler.get()] { scheduler->WakeWatchers(); });
    ModelStoreOptions options;
    options.staging_dir = kStagingDir;
    options.codec_threads = 0;
    options.has_lineage_thread = false;
    options.chunk_cache_bytes = limits::kMiB;
    options.upload_ttl = plan_.clients.upload_ttl;
    options.storage_policy.max_chain_depth = plan_.max_chain_depth;
    ModelStore::Dependencies dependencies;
    dependencies.blobs = daemon->blobs.get();
    dependencies.catalog = daemon->catalog.get();
    dependencies.files = daemon->files.get();
    dependencies.clock = &machine_.clock;
    dependencies.random = [this] { return machine_.random.Next(); };
    dependencies.waiting = daemon->scheduler.get();
    daemon->store = std::make_unique<ModelStore>(dependencies, options);
    return daemon;
  }

  // As a supervisor does it: a daemon that cannot recover is started again.
  std::unique_ptr<Daemon> StartUntilRecovered(FaultRates faults, uint64_t crash_after) {
    for (int start = 1;; ++start) {
      std::unique_ptr<Daemon> daemon = Start(faults, crash_after);
      absl::Status recovered;
      uint64_t faults_met = 0;
      daemon->scheduler->Add("recovery", [&] {
        recovered = daemon->store->Recover();
        faults_met = Scheduler::Faults();
      });
      daemon->scheduler->Run();
      if (recovered.ok() && !machine_.is_dead()) return daemon;
      if (faults_met == 0) Fail(absl::StrCat("recovery: ", recovered.ToString()));
      if (IsOver()) return daemon;
      End(std::move(daemon));
      crash_after = machine_.random.OneIn(2) ? 1 + machine_.random.Below(plan_.crash_within) : 0;
      if (start < kMaxStarts) continue;
      faults = FaultRates();
      crash_after = 0;
    }
  }

  // What was not synced is lost if it died.
  void End(std::unique_ptr<Daemon> daemon) {
    const bool has_died = machine_.is_dead();
    daemon.reset();
    if (!has_died) return;
    ++report_.crashes;
    disk_.Crash(machine_.random);
  }

  void Live() {
    const bool crashes = !machine_.random.OneIn(4);
    const uint64_t crash_after = crashes ? 1 + machine_.random.Below(plan_.crash_within) : 0;
    std::unique_ptr<Daemon> daemon = StartUntilRecovered(plan_.faults, crash_after);
    if (IsOver()) return;
    Check(*daemon);
    if (IsOver()) return End(std::move(daemon));
    SetRetention(*daemon);
    daemon->running_clients = plan_.client_count;
    for (int i = 0; i < plan_.client_count; ++i) {
      daemon->scheduler->Add(absl::StrCat("client-c", i),
                             [this, &daemon = *daemon, i] { BeClient(daemon, *clients_[i]); });
    }
    AddWorkers(*daemon);
    daemon->scheduler->Add("upkeep", [this, &daemon = *daemon] { BeUpkeep(daemon); });
    daemon->scheduler->Run();
    End(std::move(daemon));
  }

  void SetRetention(Daemon& daemon) {
    if (!plan_.clients.has_retention) return;
    store::v1::RetentionRuleRecord rule;
    rule.set_name("runs");
    rule.set_name_pattern(absl::StrCat(kExpiringPrefix, "*"));
    rule.set_keep_last(1);
    const auto set = daemon.store->maintenance().rules().Set(rule);
    if (!set.ok()) Fail(absl::StrCat("retention: ", set.status().ToString()));
  }

  bool HasEnded(const Daemon& daemon) {
    if (machine_.operations() > kMaxOperations && !machine_.is_dead()) {
      Fail("there is no end");
      machine_.Kill();
    }
    return machine_.is_dead() || daemon.is_stopping || IsOver();
  }

  void Sleep(Daemon& daemon, absl::Duration pause, bool wakes) {
    daemon.scheduler->SleepUntil(machine_.clock.Now() + pause, wakes);
  }

  void BeClient(Daemon& daemon, SimulatedClient& client) {
    for (int step = 0; step < plan_.steps && !HasEnded(daemon); ++step) {
      client.Step(*daemon.store);
      constexpr absl::Duration kPauses[] = {absl::ZeroDuration(), absl::Milliseconds(5),
                                            absl::Seconds(3), absl::Minutes(2)};
      const absl::Duration pause =
          machine_.random.OneIn(12) ? absl::Hours(2) : kPauses[machine_.random.Below(4)];
      if (!HasEnded(daemon)) Sleep(daemon, pause, false);
    }
    if (--daemon.running_clients > 0) return;
    daemon.is_stopping = true;
    daemon.scheduler->WakeAll();
  }

  void AddWorkers(Daemon& daemon) {
    for (int i = 0; i < plan_.worker_count; ++i) {
      daemon.scheduler->Add(absl::StrCat("worker-", i), [this, &daemon] { BeWorker(daemon); });
    }
  }

  void BeWorker(Daemon& daemon) {
    const auto is_stopping = [this, &daemon] { return HasEnded(daemon); };
    while (!HasEnded(daemon)) {
      absl::StatusOr<JobQueue::Claim> claim = daemon.store->jobs().ClaimNext();
      if (HasEnded(daemon) && (!claim.ok() || !claim->job.has_value())) return;
      if (!claim.ok()) {
        Sleep(daemon, absl::Milliseconds(limits::kMinWorkerBackOffMs), true);
        continue;
      }
      if (!claim->job.has_value()) {
        const absl::Time now = machine_.clock.Now();
        Sleep(daemon, std::min(claim->retry_at - now, kWorkerPause), true);
        continue;
      }
      const store::v1::JobRecord job = claim->job->record;
      const std::string what = absl::StrCat(store::v1::JobRecord::Kind_Name(job.kind()), " ",
                                            job.id(), " of ", job.model_name());
      machine_.trace.Add(absl::StrCat(Scheduler::ActorName(), ": begins ", what));
      const absl::Status status = daemon.store->runner().Run(*std::move(claim->job), is_stopping);
      machine_.trace.Add(
          absl::StrCat(Scheduler::ActorName(), ": ends ", what, ": ", status.message()));
    }
  }

  void BeUpkeep(Daemon& daemon) {
    while (!HasEnded(daemon)) {
      Sleep(daemon, absl::Seconds(1 + machine_.random.Below(600)), false);
      if (HasEnded(daemon)) return;
      const uint64_t faults = Scheduler::Faults();
      const absl::Status expired = daemon.store->uploads().ExpireIdle().status();
      if (!expired.ok() && Scheduler::Faults() == faults && !machine_.is_dead()) {
        Fail(absl::StrCat("expiry: ", expired.ToString()));
      }
      if (machine_.random.OneIn(3)) daemon.store->maintenance().StartGc().IgnoreError();
    }
  }

  CheckInput InputOf(Daemon& daemon) {
    CheckInput input;
    input.store = daemon.store.get();
    input.catalog = &catalog_;
    input.blobs = &blobs_;
    input.disk = &disk_;
    input.staging_dir = kStagingDir;
    input.now = machine_.clock.Now();
    input.upload_ttl = plan_.clients.upload_ttl;
    input.may_have_failures = machine_.faults() > report_.crashes || oracle_.has_cancelled_jobs;
    input.fail = [this](const std::string& why) { Fail(why); };
    return input;
  }

  void Check(Daemon& daemon) { SettleAndCheck(InputOf(daemon), oracle_); }

  // Without faults, until no job is left, or would be if there were no end to it.
  void Drain(Daemon& daemon) {
    daemon.is_stopping = false;
    AddWorkers(daemon);
    daemon.scheduler->Add("drain", [this, &daemon] {
      std::vector<std::string> waiting;
      for (int round = 0; round < kMaxDrainRounds; ++round) {
        Sleep(daemon, absl::Minutes(5), false);
        const auto jobs =
            catalog_.Scan({std::string(keys::kQueue), PrefixEnd(keys::kQueue), 10, false});
        waiting.clear();
        for (const Record& job : jobs->records) waiting.push_back(job.key);
        if (waiting.empty()) break;
        // What an interrupted deletion has marked is freed by a collection.
        daemon.store->maintenance().StartGc().IgnoreError();
      }
      if (!waiting.empty()) Fail(absl::StrCat("a job has no end: ", waiting[0]));
      daemon.is_stopping = true;
      daemon.scheduler->WakeAll();
    });
    daemon.scheduler->Run();
  }

  void CollectGarbage(Daemon& daemon) {
    const absl::StatusOr<std::string> id = daemon.store->maintenance().StartGc();
    if (!id.ok()) return Fail(absl::StrCat("gc: ", id.status().ToString()));
    Drain(daemon);
    const absl::StatusOr<Job> job = daemon.store->jobs().Get(*id);
    if (!job.ok()) return Fail(absl::StrCat("gc: ", job.status().ToString()));
    if (job->record.state() != store::v1::JobRecord::SUCCEEDED) {
      Fail(absl::StrCat("gc failed: ", job->record.error()));
    }
    for (const std::string& problem : job->record.gc_report().problems()) {
      Fail(absl::StrCat("gc: ", problem));
    }
  }

  void DrainAndDelete() {
    std::unique_ptr<Daemon> daemon = StartUntilRecovered(FaultRates(), 0);
    if (IsOver()) return;
    Check(*daemon);
    if (!IsOver()) Drain(*daemon);
    if (!IsOver()) CollectGarbage(*daemon);
    if (!IsOver()) Check(*daemon);
    if (!IsOver()) CheckNoGarbage(InputOf(*daemon));
    if (IsOver()) return End(std::move(daemon));
    DeleteAll(*daemon);
    machine_.clock.Advance(absl::Milliseconds(limits::kKeepEndedMs) + absl::Hours(1));
    Drain(*daemon);
    CollectGarbage(*daemon);
    // Records of jobs that ended during the first collection.
    CollectGarbage(*daemon);
    CheckEmpty(InputOf(*daemon));
    End(std::move(daemon));
  }

  void DeleteAll(Daemon& daemon) {
    for (const auto& [request_id, upload] : std::exchange(oracle_.uploads, {})) {
      const absl::Status cancelled = daemon.store->uploads().Cancel(upload.id);
      if (!cancelled.ok()) Fail(absl::StrCat("cancel: ", cancelled.ToString()));
    }
    for (const auto& [id, model] : std::map(oracle_.models)) {
      const absl::Status deleted = daemon.store->models().Delete(absl::StrCat("id:", id));
      const bool may_be_gone = model.may_expire && absl::IsNotFound(deleted);
      if (!deleted.ok() && !may_be_gone) Fail(absl::StrCat("delete: ", deleted.ToString()));
      oracle_.MarkDeleted(id);
    }
  }

  Machine machine_;
  const Plan plan_;
  SimulatedDisk disk_;
  MemoryBlobStore blobs_;
  MemoryCatalog catalog_;
  Oracle oracle_;
  std::vector<std::unique_ptr<SimulatedClient>> clients_;
  SimulationReport report_;
};

}  // namespace

SimulationReport Simulate(uint64_t seed) { return Simulation(seed).Run(); }

}  // namespace wdelta::testing

// What all services share: the engine, the threads that may block, the bounds on
// what goes on at once.
#pragma once

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "server/rpc/active_calls.h"
#include "server/rpc/admission.h"
#include "server/rpc/admission_limits.h"
#include "server/rpc/admission_queue.h"
#include "server/rpc/rpc_stats.h"
#include "spdlog/logger.h"
#include "storage/base/limits.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/backup_maker.h"
#include "storage/engine/model_store.h"

namespace wdelta {

class Authenticator;

struct RpcOptions {
  int max_fetches = limits::kDefaultMaxFetches;
  uint64_t max_open_uploads = limits::kDefaultMaxOpenUploads;
  // Outlives the environment; null: no token is asked for.
  const Authenticator* authenticator = nullptr;
  // Outlives the environment; null: the storage has no backups.
  BackupMaker* backup_maker = nullptr;
  // How long a client may take for a message of a stream that holds a thread: Diff, Blame, PlanGc,
  // Backup, FetchDelta of what is folded.
  absl::Duration max_write_wait = absl::Milliseconds(limits::kMaxWriteWaitMs);
  int max_write_streams = limits::kMaxWriteStreams;  // of pieces, at once
  int max_foldings = limits::kMaxFoldings;           // of deltas, at once
  // Streams that wait until others of their kind end, and how long each may.
  int max_waiting_fetches = admission_limits::kMaxWaitingFetches;
  int max_waiting_write_streams = admission_limits::kMaxWaitingWriteStreams;
  absl::Duration max_admission_wait = absl::Milliseconds(admission_limits::kMaxWaitMs);
  int max_downloads = limits::kDefaultMaxFetches / 2;  // over HTTP, at once
};

// Any thread may call it. Must outlive the server and every rpc. Does not own
// store and log, which must outlive it; the destructor waits for running calls.
//
// gRPC's own threads never block. Unary calls that only read run in one pool, those that change
// something, and so wait for the disk, in another; pieces of uploads and the opening of fetches
// have theirs, and each watch of a job, each comparison of models and each folding of a delta has
// a thread of its own pool: neither slow disks nor patient watchers hold up a short call.
class RpcEnvironment {
 public:
  RpcEnvironment(ModelStore* store, spdlog::logger* log, const RpcOptions& options);

  ModelStore& store() const { return *store_; }
  spdlog::logger* log() const { return log_; }
  const RpcOptions& options() const { return options_; }
  RpcStats& stats() { return stats_; }

  // Every call enters before it asks CheckServing, so that a drain waits for it or
  // the call sees the drain.
  ActiveCalls& active_calls() { return active_calls_; }
  // UNAVAILABLE (`STOPPING`) once the server drains.
  absl::Status CheckServing() const;

  // Run a unary call. RESOURCE_EXHAUSTED (`TOO_MANY_CALLS`) when too many of its kind wait.
  absl::Status ScheduleQuery(absl::AnyInvocable<void()> call);
  absl::Status ScheduleChange(absl::AnyInvocable<void()> call);
  // For a stream, which has at most one task here at a time: one that is about to be sent, and
  // one that is received.
  void ScheduleOpening(absl::AnyInvocable<void()> task) { opening_.Schedule(std::move(task)); }
  void ScheduleWrite(absl::AnyInvocable<void()> task) { writing_.Schedule(std::move(task)); }
  // For the holder of a slot of comparisons(): starts when the call that had it before has
  // returned, and may block.
  void ScheduleComparison(absl::AnyInvocable<void()> task) { comparing_.Schedule(std::move(task)); }
  // For the holder of a slot of foldings(): starts when the call that had it before has returned,
  // and may block.
  void ScheduleFolding(absl::AnyInvocable<void()> task) { folding_.Schedule(std::move(task)); }
  // For the holder of a slot of watches(): starts when the call that had it before has returned,
  // and may block.
  void ScheduleWatch(absl::AnyInvocable<void()> task) { watching_.Schedule(std::move(task)); }

  // Streams beyond the limits of these wait their turn, without a thread.
  AdmissionQueue& fetches() { return fetches_; }
  // Those over HTTP, which take a place of fetches() as well. For threads that wait.
  AdmissionQueue& downloads() { return downloads_; }
  AdmissionQueue& write_streams() { return write_streams_; }
  Admission& watches() { return watches_; }
  Admission& comparisons() { return comparisons_; }
  Admission& foldings() { return foldings_; }

  // Refuses further calls and those that wait, and ends watches, which would otherwise hold up a
  // drain. Once.
  void StartDraining();
  bool IsDraining() const { return draining_.HasBeenNotified(); }

 private:
  absl::Status Schedule(Admission& admission, ThreadPool& pool, absl::AnyInvocable<void()> call);

  ModelStore* const store_;
  spdlog::logger* const log_;
  const RpcOptions options_;
  RpcStats stats_;
  ActiveCalls active_calls_;
  Admission queries_;
  Admission changes_;
  AdmissionQueue fetches_;
  AdmissionQueue downloads_;
  AdmissionQueue write_streams_;
  Admission watches_;
  Admission comparisons_;
  Admission foldings_;
  absl::Notification draining_;
  ThreadPool querying_;
  ThreadPool changing_;
  ThreadPool opening_;
  ThreadPool writing_;
  ThreadPool watching_;
  ThreadPool comparing_;
  ThreadPool folding_;
};

}  // namespace wdelta

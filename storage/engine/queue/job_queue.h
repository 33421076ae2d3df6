// The durable queue of background work. Records lie in the catalog; a worker holds
// a job by a lease, so that a job of a daemon that died is taken up again. Any
// thread may call it.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/id.h"
#include "storage/catalog/catalog.h"
#include "store/v1/records.pb.h"

namespace wdelta {

struct Job {
  store::v1::JobRecord record;
  uint64_t version = 0;
  // Of a claimed job: as long as a copy lives, this process does not claim the job again. A
  // worker that was slow, or whose machine slept, would undo what the other does.
  std::shared_ptr<const void> claim;
};

bool HasEnded(const store::v1::JobRecord& job);

// NOT_FOUND (`JOB_NOT_FOUND`).
absl::Status JobNotFound(absl::string_view id);

class JobQueue {
 public:
  // Owns none of them; all must outlive it.
  JobQueue(Catalog* catalog, IdGenerator* ids, const Clock* clock, std::string node_id);

  // Adds a job to a commit; returns its id. `effort`: of a REPACK; `repair`: of a SCRUB.
  std::string AddTo(Commit& commit, store::v1::JobRecord::Kind kind,
                    const store::v1::ModelRecord& model, store::v1::Effort effort = store::v1::FAST,
                    bool repair = false);

  // NOT_FOUND (`JOB_NOT_FOUND`).
  absl::StatusOr<Job> Get(const std::string& id);
  // Newest first; pages as in models.h, `after` is a job id.
  absl::StatusOr<std::vector<Job>> List(const std::string& after, uint32_t limit, bool* more);
  // Changes of one job, for Watch.
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(const std::string& id);
  // Changes of any queue entry or job, for workers.
  absl::StatusOr<std::unique_ptr<Watcher>> WatchAll();
  // A job that waits has ended when this returns, its model as after job_failure.h.
  // FAILED_PRECONDITION (`JOB_ENDED`).
  absl::StatusOr<Job> RequestCancel(const std::string& id);

  // At start: jobs that an earlier run of this node held may be claimed at once.
  absl::Status ReleaseOwn();

  // Ids of the models for which a RECLAIM has not ended.
  absl::StatusOr<std::set<std::string>> ModelsToReclaim();

  // Whether a job other than `id` could be claimed. A RECLAIM does not count: a GC frees the
  // same, and one that waits for the end of a fetch would stop it again and again.
  absl::StatusOr<bool> AnyDueBut(const std::string& id);

  struct Claim {
    std::optional<Job> job;  // nullopt: nothing to do
    // With nullopt: when a job may become due; infinite: no job waits for a time.
    absl::Time retry_at = absl::InfiniteFuture();
  };
  absl::StatusOr<Claim> ClaimNext();

  // The job's present record while it is held as `job` says; FAILED_PRECONDITION
  // (`LEASE_LOST`) once another attempt has begun or it has ended. A commit that depends
  // on holding it requires the version.
  absl::StatusOr<Job> GetHeld(const Job& job);

  // Whether the work may go on: CANCELLED and LEASE_LOST as Renew, without a write.
  absl::Status CheckHeld(const Job& job);

  // Saves progress and prolongs the lease. CANCELLED when a cancel was asked for,
  // FAILED_PRECONDITION (`LEASE_LOST`) when the job is no longer ours.
  absl::Status Renew(Job& job);

  // Adds the end of a job to a commit, which then fails if the job is not ours.
  void AddEnd(Commit& commit, const Job& job, store::v1::JobRecord::State state,
              absl::string_view error);
  // Puts a job back to run after `delay`; `counts` as an attempt or not.
  absl::Status PutBack(const Job& job, absl::Duration delay, bool counts, absl::string_view error);

 private:
  void NoteInterruption(store::v1::JobRecord& job);

  // Jobs that are claimed here and not let go of.
  class Running;

  absl::StatusOr<std::optional<Job>> TryClaim(const std::string& id, absl::Time& retry_at);

  Catalog* const catalog_;
  IdGenerator* const ids_;
  const Clock* const clock_;
  const std::string node_id_;
  const std::shared_ptr<Running> running_;
};

}  // namespace wdelta

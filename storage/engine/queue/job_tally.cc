#include "storage/engine/queue/job_tally.h"

#include <vector>

#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/queue/job_queue.h"
#include "storage/engine/records/records.h"

namespace wdelta {

using store::v1::JobRecord;

absl::StatusOr<JobTally::Counts> JobTally::Read() {
  absl::MutexLock lock(&mutex_);
  if (watcher_ == nullptr) WDELTA_RETURN_IF_ERROR(Load());
  const absl::StatusOr<std::vector<Change>> changes = watcher_->Next(absl::InfinitePast());
  if (absl::IsOutOfRange(changes.status())) {
    WDELTA_RETURN_IF_ERROR(Load());
    return counts_;
  }
  WDELTA_RETURN_IF_ERROR(changes.status());
  for (const Change& change : *changes) {
    const std::string id = change.key.substr(keys::kJobs.size());
    JobRecord job;
    if (change.value.has_value() && job.ParseFromString(*change.value)) {
      Put(id, job);
    } else {
      Erase(id);
    }
  }
  return counts_;
}

absl::Status JobTally::Load() {
  // What changes meanwhile is seen by the watcher, and counted once more.
  WDELTA_ASSIGN_OR_RETURN(const uint64_t revision, catalog_.CurrentRevision());
  WDELTA_ASSIGN_OR_RETURN(std::unique_ptr<Watcher> watcher,
                          catalog_.Watch(std::string(keys::kJobs), revision));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> ids,
                          ScanKeySuffixes(catalog_, std::string(keys::kQueue)));
  jobs_.clear();
  for (auto& [key, count] : counts_) count = 0;
  for (const std::string& id : ids) {
    const auto record = ReadRecord<JobRecord>(catalog_, keys::Job(id));
    if (absl::IsDataLoss(record.status())) continue;  // who claims it tells
    WDELTA_RETURN_IF_ERROR(record.status());
    if (record->has_value()) Put(id, (*record)->message);
  }
  watcher_ = std::move(watcher);
  return absl::OkStatus();
}

void JobTally::Put(const std::string& id, const JobRecord& job) {
  Erase(id);
  if (HasEnded(job)) return;
  const Key key(job.kind(), job.state());
  jobs_[id] = key;
  ++counts_[key];
}

void JobTally::Erase(const std::string& id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  --counts_[found->second];
  jobs_.erase(found);
}

}  // namespace wdelta

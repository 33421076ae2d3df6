#include "server/operations/store_metrics.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;
using store::v1::ModelRecord;

const char* WordOf(ModelKind kind) {
  switch (kind) {
    case ModelKind::kRoot:
      return "root";
    case ModelKind::kFineTune:
      return "fine_tune";
    case ModelKind::kMerge:
      break;
  }
  return "merge";
}

const char* WordOf(RunResult result) {
  switch (result) {
    case RunResult::kSucceeded:
      return "succeeded";
    case RunResult::kPutBack:
      return "put_back";
    case RunResult::kRetried:
      return "retried";
    case RunResult::kCancelled:
      return "cancelled";
    case RunResult::kFailed:
      break;
  }
  return "failed";
}

// Of an enumeration of records; what this version does not know is `unknown`.
std::string WordOf(const std::string& name) {
  return name.empty() ? "unknown" : absl::AsciiStrToLower(name);
}

// All that this version knows.
std::vector<JobRecord::Kind> JobKinds() {
  std::vector<JobRecord::Kind> kinds;
  for (int kind = JobRecord::KIND_UNSPECIFIED + 1; kind <= JobRecord::Kind_MAX; ++kind) {
    if (JobRecord::Kind_IsValid(kind)) kinds.push_back(static_cast<JobRecord::Kind>(kind));
  }
  return kinds;
}

MetricWriter::Labels LabelsOf(const JobStats::Key& key) {
  return {{"kind", WordOf(JobRecord::Kind_Name(key.first))}, {"result", WordOf(key.second)}};
}

void CollectRuns(const JobStats& stats, MetricWriter& writer) {
  // Whoever watches for an increase sees the first one only from a zero.
  std::map<JobStats::Key, uint64_t> runs;
  for (const JobRecord::Kind kind : JobKinds()) {
    for (const RunResult result : {RunResult::kSucceeded, RunResult::kPutBack, RunResult::kRetried,
                                   RunResult::kCancelled, RunResult::kFailed}) {
      runs[{kind, result}] = 0;
    }
  }
  for (const auto& [key, counts] : stats.durations_seconds()) {
    writer.Add(MetricId::kJobDuration, counts, LabelsOf(key));
    runs[key] = counts.total;
  }
  for (const auto& [key, count] : runs) {
    writer.Add(MetricId::kJobRuns, static_cast<double>(count), LabelsOf(key));
  }
}

void CollectMaintenance(const MaintenanceTotals& totals, MetricWriter& writer) {
  writer.Add(MetricId::kGcFreedBytes, static_cast<double>(totals.gc_freed_bytes));
  writer.Add(MetricId::kGcWrittenBytes, static_cast<double>(totals.gc_written_bytes));
  const auto add_models = [&writer](const char* what, uint64_t count) {
    writer.Add(MetricId::kGcModels, static_cast<double>(count), {{"action", what}});
  };
  add_models("deleted", totals.gc_models_deleted);
  add_models("rewritten", totals.gc_models_rewritten);
  add_models("freed", totals.gc_models_freed);
  writer.Add(MetricId::kScrubbedModels, static_cast<double>(totals.scrub_models));
  writer.Add(MetricId::kScrubbedBytes, static_cast<double>(totals.scrub_bytes));
  writer.Add(MetricId::kScrubDamages, static_cast<double>(totals.scrub_damages));
  writer.Add(MetricId::kScrubRepairs, static_cast<double>(totals.scrub_repairs));
}

// Of the last scrub that came to its end: one that runs has not found everything yet. Nullopt:
// nothing is known.
absl::StatusOr<std::optional<uint64_t>> LastScrubDamages(ModelStore& store) {
  if (const auto damages = store.runner().stats().maintenance().last_scrub_damages) return damages;
  WDELTA_ASSIGN_OR_RETURN(const std::optional<JobRecord> scrub, store.maintenance().LastScrub());
  if (!scrub.has_value() || scrub->state() != JobRecord::SUCCEEDED) {
    return std::optional<uint64_t>();
  }
  return std::optional<uint64_t>(scrub->scrub_report().damage_count() -
                                 scrub->scrub_report().repaired_count());
}

}  // namespace

absl::Status CollectModels(ModelStore& store, MetricWriter& writer) {
  WDELTA_ASSIGN_OR_RETURN(const ModelTally::Totals all, store.lineage().Totals());
  for (const auto& [key, totals] : all) {
    const MetricWriter::Labels labels = {{"kind", WordOf(key.first)},
                                         {"state", WordOf(ModelRecord::State_Name(key.second))}};
    writer.Add(MetricId::kModels, static_cast<double>(totals.model_count), labels);
    writer.Add(MetricId::kLogicalBytes, static_cast<double>(totals.logical_bytes), labels);
    writer.Add(MetricId::kStoredBytes, static_cast<double>(totals.stored_bytes), labels);
  }
  return absl::OkStatus();
}

absl::Status CollectJobs(ModelStore& store, MetricWriter& writer) {
  const JobStats& stats = store.runner().stats();
  CollectRuns(stats, writer);
  CollectMaintenance(stats.maintenance(), writer);
  WDELTA_ASSIGN_OR_RETURN(JobTally::Counts queued, store.job_tally().Read());
  for (const JobRecord::Kind kind : JobKinds()) {
    for (const JobRecord::State state : {JobRecord::PENDING, JobRecord::RUNNING}) {
      queued.try_emplace({kind, state}, 0);
    }
  }
  for (const auto& [key, count] : queued) {
    writer.Add(MetricId::kQueuedJobs, static_cast<double>(count),
               {{"kind", WordOf(JobRecord::Kind_Name(key.first))},
                {"state", WordOf(JobRecord::State_Name(key.second))}});
  }
  WDELTA_ASSIGN_OR_RETURN(const std::optional<uint64_t> damages, LastScrubDamages(store));
  if (damages.has_value()) {
    writer.Add(MetricId::kDamagedModels, static_cast<double>(*damages));
  }
  return absl::OkStatus();
}

void CollectFetches(ModelStore& store, MetricWriter& writer) {
  const FetchStats& fetches = store.reader().fetch_stats();
  writer.Add(MetricId::kFetchDuration, fetches.duration_seconds.Counts());
  writer.Add(MetricId::kFetchChainDepth, fetches.chain_depth.Counts());
  writer.Add(MetricId::kFetchReadBytes, static_cast<double>(fetches.read_bytes.load()));
  const ChunkCache::Stats chunks = store.reader().chunk_cache_stats();
  const MetricWriter::Labels labels = {{"cache", "chunk"}};
  writer.Add(MetricId::kCacheHits, static_cast<double>(chunks.hits), labels);
  writer.Add(MetricId::kCacheMisses, static_cast<double>(chunks.misses), labels);
  writer.Add(MetricId::kCacheEvictions, static_cast<double>(chunks.evictions), labels);
  writer.Add(MetricId::kCacheBytes, static_cast<double>(chunks.size_bytes), labels);
  writer.Add(MetricId::kCacheCapacity, static_cast<double>(chunks.capacity_bytes), labels);
}

absl::Status CollectDisk(ModelStore& store, MetricWriter& writer) {
  WDELTA_ASSIGN_OR_RETURN(const DiskGuard::State disk, store.disk().Look());
  writer.Add(MetricId::kDiskFree, static_cast<double>(disk.free_bytes));
  writer.Add(MetricId::kDiskMinFree, static_cast<double>(disk.min_free_bytes));
  writer.Add(MetricId::kDiskReserved, static_cast<double>(disk.reserved_bytes));
  writer.Add(MetricId::kReadOnly, disk.is_full ? 1 : 0);
  return absl::OkStatus();
}

}  // namespace wdelta

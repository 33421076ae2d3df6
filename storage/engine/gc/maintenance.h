// What a store does to look after itself, as the server sees it. Any thread may call it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/engine/gc/gc_plan.h"
#include "storage/engine/gc/retention.h"
#include "storage/engine/gc/sweep.h"
#include "storage/engine/jobs/job_context.h"

namespace wdelta {

// What a garbage collection would do.
struct GcPlanSink {
  std::function<absl::Status(const ExpiredModel& expired)> deletion;
  // A deleted model whose bytes would go, and how many nothing else needs.
  std::function<absl::Status(const std::string& id, const std::string& name, uint64_t bytes)> freed;
  std::function<absl::Status(const RewriteEstimate& rewrite)> rewrite;
  // A deleted model that would stay.
  std::function<absl::Status(const std::string& id, const std::string& name, const GcUnit& unit)>
      kept;
  std::function<absl::Status()> alive;  // called often; an error ends the work
};

struct GcPlanTotals {
  uint64_t models_deleted = 0;  // by retention rules
  uint64_t models_rewritten = 0;
  uint64_t models_freed = 0;
  uint64_t models_kept = 0;
  uint64_t freed_bytes = 0;
  int64_t growth_bytes = 0;
  Swept swept;
};

class Maintenance {
 public:
  // What `deps` names must outlive it.
  explicit Maintenance(const JobDependencies& deps)
      : deps_(deps), rules_(deps.catalog, deps.clock) {}

  RetentionRules& rules() { return rules_; }

  // Adds a GC job; returns its id, or that of the one that has not ended.
  absl::StatusOr<std::string> StartGc();

  // Adds a SCRUB job; returns its id, or that of the one that has not ended.
  absl::StatusOr<std::string> StartScrub(bool repair);
  // The SCRUB job that was added last; nullopt: none, or its record is no longer kept.
  absl::StatusOr<std::optional<store::v1::JobRecord>> LastScrub();

  // Changes nothing. In the calling thread, and in the pool of codecs; an error of the sink
  // ends the work.
  absl::StatusOr<GcPlanTotals> PlanGc(const GcPlanSink& sink);

 private:
  // Adds a job of which only one may wait or run, `key` naming the last.
  absl::StatusOr<std::string> StartOnly(absl::string_view key, store::v1::JobRecord::Kind kind,
                                        bool repair);

  const JobDependencies deps_;
  RetentionRules rules_;
};

}  // namespace wdelta

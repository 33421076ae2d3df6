// Which models are worth encoding again so that deleted ones can go.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/engine/gc/deleted_models.h"
#include "storage/engine/jobs/job_context.h"
#include "storage/engine/parents/parent_candidates.h"

namespace wdelta {

struct RewriteEstimate {
  std::string model_id;
  std::string name;
  uint64_t stored_bytes = 0;
  uint64_t estimated_bytes = 0;
  std::string storage_parent_id;  // that it would take; empty: none
  std::string storage_parent_name;

  int64_t Growth() const {
    return static_cast<int64_t>(estimated_bytes) - static_cast<int64_t>(stored_bytes);
  }
};

// Deleted models that go together, and what that takes.
struct GcUnit {
  std::string id;                       // of the one that the unit was made for
  std::vector<std::string> deleted;     // children first
  std::vector<std::string> dependents;  // live models that are encoded against them
  uint64_t freed_bytes = 0;
  int64_t growth_bytes = 0;  // of `rewrites`
  // One for each dependent, or as many as show that it is not worth it; none if that is
  // known from the last time.
  std::vector<RewriteEstimate> rewrites;
  AvoidedModels avoided;
  // Of what decides, the sizes of new forms aside.
  std::string fingerprint;
  // It was not worth it the last time, and nothing of that has changed; no more is measured.
  bool was_refused = false;
  // Why it cannot be told; empty otherwise.
  std::string problem;

  bool IsWorthIt() const {
    return problem.empty() && !was_refused && rewrites.size() == dependents.size() &&
           growth_bytes < static_cast<int64_t>(freed_bytes);
  }
};

enum class UnitFate {
  kStays,
  kGone,     // the records say so by now
  kWouldGo,  // nothing was changed
};

// Looks at what is left of `deleted`, what is deepest in the storage chains first, and calls
// `on_unit` with every unit that is worth it; the callback returns what became of it. What
// goes does not come again, and counts as gone for the units after it. What is not worth it
// by itself may be together with its storage parents; what is not at all is given to
// `on_kept`, and what NoteKept notes of it spares measuring it again for kKeepGcDecisionMs,
// unless what is encoded against it changes. One model's sample is in memory at a time. `advance`
// is called often; an error of it ends the work, as do those of the callbacks.
absl::Status PlanUnits(const JobDependencies& deps, DeletedModels& deleted,
                       const std::function<absl::Status()>& advance,
                       const std::function<absl::StatusOr<UnitFate>(const GcUnit& unit)>& on_unit,
                       const std::function<absl::Status(const GcUnit& unit)>& on_kept);

// Of a unit that PlanUnits gave to `on_kept`.
absl::Status NoteKept(const JobDependencies& deps, const GcUnit& unit);

}  // namespace wdelta

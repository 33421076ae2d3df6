// Retention rules: which models of a run of checkpoints stay.
//
// A run is the READY models with one name, or with one value of a label. A rule keeps the
// newest few of each run, every Kth by its position, and tagged ones; what several rules
// cover stays when any of them keeps it, and the newest of a run always does. Positions are
// counted from 1 and stored with the models, those of names when a version is made, those
// of labels when a rule first meets them: they stay as they are when others go.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/clock.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/jobs/job_context.h"
#include "storage/engine/models/models.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// The rules in the catalog. Any thread may call it. Owns nothing.
class RetentionRules {
 public:
  RetentionRules(Catalog* catalog, const Clock* clock) : catalog_(catalog), clock_(clock) {}

  // Makes or replaces a rule; returns it as stored. INVALID_ARGUMENT (`BAD_RULE`, detail
  // `field`), RESOURCE_EXHAUSTED (`TOO_MANY_RULES`).
  absl::StatusOr<store::v1::RetentionRuleRecord> Set(store::v1::RetentionRuleRecord rule);
  // In order of name, after the rule that gave `after`.
  absl::StatusOr<Page<store::v1::RetentionRuleRecord>> List(const std::string& after,
                                                            uint32_t limit);
  // Another after every change of any rule.
  absl::StatusOr<uint64_t> Version();
  // INVALID_ARGUMENT (`BAD_RULE`), NOT_FOUND (`RULE_NOT_FOUND`).
  absl::Status Delete(const std::string& name);

 private:
  Catalog* const catalog_;
  const Clock* const clock_;
};

// A model that no rule keeps.
struct ExpiredModel {
  std::string model_id;
  std::string name;
  uint64_t version = 0;  // of its record, when it was looked at
  uint64_t stored_bytes = 0;
  std::string rule;
  std::string run;  // the name, or `label=value`
  uint64_t position = 0;
  // The newest of the run, which must be there still when this one goes.
  std::string newest_id;
  uint64_t newest_version = 0;
  uint64_t rules_version = 0;  // that it was judged by
};

struct RetentionOptions {
  // Positions that are missing are not stored.
  bool dry_run = false;
  std::function<absl::Status()> alive;  // called often; an error ends the work
};

// Calls `on_expired` for every model that the rules let go, by rule, run and age. It may
// delete the model. Its error ends the work. Memory grows with the number of models that
// rules cover, by a few hundred bytes each.
absl::Status FindExpired(const JobDependencies& deps, const RetentionOptions& options,
                         const std::function<absl::Status(const ExpiredModel&)>& on_expired);

// Deletes it unless it, its tags, the newest of its run or any rule have changed; false then. Its
// bytes are the caller's to free.
absl::StatusOr<bool> DeleteExpired(Models& models, const ExpiredModel& expired);

}  // namespace wdelta

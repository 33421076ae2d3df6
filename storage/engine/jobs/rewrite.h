// Encodes a READY model again, beside its present form, and swaps the new form in.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/catalog/catalog.h"
#include "storage/codec/lossy.h"
#include "storage/engine/jobs/job_context.h"
#include "storage/engine/parents/parent_choice.h"
#include "store/v1/records.pb.h"

namespace wdelta {

struct RewriteOutcome {
  bool is_rewritten = false;
  uint64_t former_bytes = 0;
  uint64_t stored_bytes = 0;  // of the new form, also when it was dropped
  uint64_t new_bytes = 0;     // of it, that the store did not have
};

struct RewriteRequest {
  std::string model_id;
  // Where its content is read; null: where it is served from. A damaged model is mended by
  // another source.
  ContentSourcePtr source;
  // Of what is stored, used for nothing else; see blob_claims.h.
  std::string owner;
  Effort effort = Effort::kFast;
  // What the model may not be encoded against; null: its present parent will do, too, and
  // what was stored with loss keeps it.
  const AvoidedModels* avoided = nullptr;
  // Whether the new form is worth it; otherwise it is dropped.
  std::function<bool(const RewriteOutcome& outcome)> is_small_enough;
  // Adds to the commit that swaps the forms. The former one stays claimed under the last of
  // the record's `retired_owners`.
  std::function<absl::Status(const store::v1::ModelRecord& record, Commit& commit)> add_to_commit;
};

// The new form is decoded again and compared before the commit; until then nothing
// changes. Requires the job to be held. Safe to repeat: a form of this owner that is the
// model's already is left alone. CANCELLED (`MODEL_DELETED`) when the model is not READY;
// other errors as RunIngest.
absl::StatusOr<RewriteOutcome> RewriteModel(const JobDependencies& deps, JobContext& context,
                                            const RewriteRequest& request);

// Gives up what was stored for a form that did not come to be. A form that the model has, or had,
// stays: a commit may have been applied though its answer was lost, and an earlier attempt of the
// job may have made it.
absl::Status ReleaseFailedForm(const JobDependencies& deps, const std::string& model_id,
                               const std::string& owner);

// The choice that RewriteModel would make.
absl::StatusOr<ParentChoice> ChooseForRewrite(const JobDependencies& deps,
                                              const store::v1::ModelRecord& model,
                                              const AvoidedModels* avoided,
                                              const std::function<absl::Status()>& advance);

}  // namespace wdelta

// The choice of a storage parent, by measuring: a sample of the model's chunks is
// encoded against every candidate.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/digest.h"
#include "storage/base/limits.h"
#include "storage/base/thread_pool.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/encoding/storage_plan.h"
#include "storage/engine/models/models.h"
#include "storage/engine/parents/parent_candidates.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// What an operator allows. Decisions are recorded: a change concerns later ones only.
struct StoragePolicy {
  uint32_t max_chain_depth = limits::kDefaultMaxChainDepth;  // at most kMaxStorageDepth
  double max_fetch_cost = limits::kDefaultMaxFetchCost;      // see fetch_cost.h
};

struct ParentChoiceInput {
  store::v1::ModelRecord model;
  ContentSourcePtr target;
  std::vector<Digest> stream_digests;  // of `target`
  StoragePolicy policy;
  // Models that are encoded against this one: it may not become deeper.
  bool has_dependents = false;
  // The bits may change. Loss is asked for of the delta to the first declared parent that
  // is stored. Where it is bounded by relative errors, the parent is chosen by what the
  // model takes with the same error against each; otherwise only that parent will do, or
  // the nearest storage ancestor of it that the policy allows.
  bool allows_loss = false;
  // The content was lossy when it came, against the present storage parent, and would
  // cost much to spell out against another.
  bool keeps_parent = false;
  // See parent_candidates.h; null: none.
  const AvoidedModels* avoided = nullptr;
  std::function<absl::Status()> advance;  // called often; an error ends the work
};

struct ParentChoice {
  StorageParent parent;
  ContentSourcePtr source;  // of the parent; null: none
  // By stream of the target.
  std::vector<std::optional<uint32_t>> parent_streams;
  store::v1::StorageChoiceRecord record;  // candidates by estimate; no time set
  store::v1::LineageCheck lineage_check;
};

// What the choice is made with. Owns none of it.
struct ParentChoiceTools {
  Catalog* catalog = nullptr;
  Models* models = nullptr;
  Reader* reader = nullptr;
  ThreadPool* pool = nullptr;
};

// The candidate (parent_candidates.h) with the least estimate, corrections included where they
// come near the least (low_rank/corrected_estimate.h), among those that the policy allows; of those
// within a hundredth of it, the one that is fetched at the least cost. When the best one has models
// encoded against it, those are measured too, and so on down the chain. At most kMaxSampledChunks
// chunks of the target are read for each candidate, a few a thread at a time. A candidate that
// cannot be read is passed over.
absl::StatusOr<ParentChoice> ChooseParent(const ParentChoiceTools& tools,
                                          const ParentChoiceInput& input);

}  // namespace wdelta

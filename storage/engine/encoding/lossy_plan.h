// Which tensors of a model are stored with loss, and how.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/thread_pool.h"
#include "storage/codec/lossy.h"
#include "storage/engine/content/content_source.h"
#include "store/v1/records.pb.h"

namespace wdelta {

struct LossyPlanInput {
  ContentSourcePtr target;
  ContentSourcePtr parent;
  // By stream of `target`.
  std::vector<std::optional<uint32_t>> parent_streams;
  // The declared parent, where the storage parent is an older model: relative errors are
  // asked for of the delta to it. Null: the same model.
  ContentSourcePtr declared;
  std::vector<std::optional<uint32_t>> declared_streams;
  store::v1::FidelityPolicy policy;
  // Called often; an error ends the work.
  std::function<absl::Status()> advance;
};

// One stream that the policy lets be lossy.
struct LossyStream {
  uint32_t stream = 0;
  LossyTensor tensor;  // its policy's relative error is that of the delta to the storage parent
  LossyParams params;  // kLossless where that turned out best, or the only way
};

struct LossyPlan {
  std::vector<LossyStream> streams;  // in order of stream
  // |delta to the storage parent| / |delta to the declared one| over these streams.
  double delta_ratio = 1;

  // Null for a stream that is to stay as it is.
  const LossyStream* Find(uint32_t stream) const;
  bool IsLossy() const;  // any params other than kLossless
};

// The policy of a stream that may be stored with loss: a tensor of at least two dimensions
// whose dtype CanBeLossy, that the parent has with equal dtype and shape, and whose policy
// is not lossless. Nullopt for others. `parent_streams`: by stream of the target.
std::optional<TensorPolicy> LossyPolicyOf(
    const store::v1::FidelityPolicy& policy, const Checkpoint& target, uint32_t stream,
    const ContentSource& parent, const std::vector<std::optional<uint32_t>>& parent_streams);

// Considers the streams that may be stored with loss. Reads them once for
// their moments and again in every round of the LossyPlanner, in parallel, a few chunks a
// thread at a time. Nothing that it decides depends on the number of threads.
absl::StatusOr<LossyPlan> PlanLossy(const LossyPlanInput& input, ThreadPool* pool);

}  // namespace wdelta

#include "storage/engine/parents/lossy_estimate.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "storage/base/status_macros.h"
#include "storage/engine/content/codec_pool.h"
#include "storage/engine/content/ordered_tasks.h"
#include "storage/engine/records/fidelity.h"

namespace wdelta {
namespace {

// What the quantiser takes beyond R(D), in bits a weight.
constexpr double kRateOverhead = 0.1;

bool IsBoundedByError(const store::v1::TensorPolicy& policy) {
  return policy.strategy() == store::v1::LOSSLESS || policy.strategy() == store::v1::AUTO ||
         (policy.strategy() == store::v1::NEAR_LOSSLESS && policy.has_relative_error());
}

struct Energy {
  double weights = 0;
  double squared_delta = 0;
};

}  // namespace

bool IsBoundedByError(const store::v1::FidelityPolicy& policy) {
  return IsBoundedByError(policy.all()) &&
         std::all_of(policy.rules().begin(), policy.rules().end(),
                     [](const auto& rule) { return IsBoundedByError(rule.policy()); });
}

absl::StatusOr<std::vector<std::optional<SampledDelta>>> SampleDeltas(
    const DeltaEncoderInput& input, const store::v1::FidelityPolicy& policy,
    const std::vector<WeightedChunk>& sample, ThreadPool* pool) {
  std::vector<std::optional<SampledDelta>> deltas;
  CodecPool codecs;
  const auto measure = [&](const ChunkRef& at, std::optional<SampledDelta>& delta) -> absl::Status {
    delta.reset();
    if (input.parent == nullptr || at.size == 0) return absl::OkStatus();
    const Checkpoint& target = input.target->checkpoint();
    const std::optional<TensorPolicy> lossy =
        LossyPolicyOf(policy, target, at.stream, *input.parent, input.parent_streams);
    if (!lossy.has_value()) return absl::OkStatus();
    CodecPool::Lease worker = codecs.Borrow();
    worker->chunk.resize(at.size);
    WDELTA_RETURN_IF_ERROR(input.target->Read(at.stream, at.offset, at.size, worker->chunk.data()));
    const TensorInfo& tensor = target.streams[at.stream].tensor;
    WDELTA_ASSIGN_OR_RETURN(const std::optional<absl::string_view> parent,
                            ReadParentChunk(input.parent.get(), input.parent_streams[at.stream],
                                            tensor, at, worker->parent));
    if (!parent.has_value()) return absl::OkStatus();
    delta.emplace();
    delta->relative_error = lossy->relative_error;
    WDELTA_ASSIGN_OR_RETURN(delta->moments, MeasureDelta(tensor.dtype, worker->chunk, *parent));
    if (!delta->moments.finite) delta.reset();
    return absl::OkStatus();
  };
  // Last: its tasks refer to what is above.
  OrderedTasks<std::optional<SampledDelta>> tasks(pool, [&](std::optional<SampledDelta>& delta) {
    deltas.push_back(delta);
    return input.advance(0);
  });
  for (const WeightedChunk& chunk : sample) {
    WDELTA_RETURN_IF_ERROR(
        tasks.Start([&measure, at = chunk.chunk](std::optional<SampledDelta>& delta) {
          return measure(at, delta);
        }));
  }
  WDELTA_RETURN_IF_ERROR(tasks.Finish());
  return deltas;
}

double EstimateLossyBytes(const std::vector<WeightedChunk>& sample,
                          const std::vector<std::optional<SampledDelta>>& meant,
                          const std::vector<std::optional<SampledDelta>>& coded,
                          const std::vector<double>& lossless_bytes) {
  std::map<double, Energy> by_bound;
  for (size_t i = 0; i < sample.size(); ++i) {
    if (!meant[i].has_value()) continue;
    Energy& energy = by_bound[meant[i]->relative_error];
    energy.weights += sample[i].weight * static_cast<double>(meant[i]->moments.weights);
    energy.squared_delta += sample[i].weight * meant[i]->moments.squared_delta;
  }
  double bytes = 0;
  for (size_t i = 0; i < sample.size(); ++i) {
    double chunk_bytes = lossless_bytes[i];
    if (coded[i].has_value() && meant[i].has_value()) {
      const Energy& energy = by_bound[meant[i]->relative_error];
      const double bound = meant[i]->relative_error * meant[i]->relative_error *
                           energy.squared_delta / energy.weights;
      const double weights = static_cast<double>(coded[i]->moments.weights);
      const double variance = coded[i]->moments.squared_delta / weights;
      double bits = 0;
      if (variance > bound) bits = kRateOverhead + std::log2(variance / bound) / 2;
      chunk_bytes = std::min(chunk_bytes, bits / 8 * weights);
    }
    bytes += sample[i].weight * chunk_bytes;
  }
  return bytes;
}

}  // namespace wdelta

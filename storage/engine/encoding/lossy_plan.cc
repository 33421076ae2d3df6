#include "storage/engine/encoding/lossy_plan.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/engine/content/codec_pool.h"
#include "storage/engine/content/ordered_tasks.h"
#include "storage/engine/encoding/chunk_input.h"
#include "storage/engine/encoding/storage_plan.h"
#include "storage/engine/records/fidelity.h"

namespace wdelta {
namespace {

// Errors of the output projection reach the logits of every token directly, with no norm
// or nonlinearity behind them. On fine-tunes of small language models it did a third of
// the damage with less than a hundredth of the weights.
constexpr double kOutputFineness = 4;

// By the names that checkpoints of language models give it.
bool IsOutputProjection(absl::string_view name) {
  if (!absl::ConsumeSuffix(&name, ".weight")) return false;
  return name == "lm_head" || absl::EndsWith(name, ".lm_head") || name == "embed_out" ||
         name == "output" || name == "head";
}

// What one chunk adds to the figures of its tensor.
struct ChunkFigures {
  size_t index = 0;  // in LossyPlan::streams
  DeltaMoments moments;
  double lossless_bits = 0;
  LossyOutcome outcome;
};

class Planning {
 public:
  Planning(const LossyPlanInput& input, ThreadPool* pool) : input_(input), pool_(pool) {}

  absl::StatusOr<LossyPlan> Run() {
    FindStreams();
    if (plan_.streams.empty()) return std::move(plan_);
    WDELTA_RETURN_IF_ERROR(GatherMoments());
    if (input_.declared != nullptr) WDELTA_RETURN_IF_ERROR(RelateToDeclared());
    std::vector<LossyTensor> tensors;
    for (const LossyStream& stream : plan_.streams) tensors.push_back(stream.tensor);
    const Effort effort = static_cast<Effort>(input_.policy.effort());
    LossyPlanner planner(std::move(tensors), effort);
    bool again = true;
    while (again) {
      TakeParams(planner);
      WDELTA_ASSIGN_OR_RETURN(const std::vector<LossyOutcome> outcomes, Measure());
      WDELTA_ASSIGN_OR_RETURN(again, planner.Refine(outcomes));
    }
    TakeParams(planner);  // the last look may have made tensors lossless
    return std::move(plan_);
  }

 private:
  void TakeParams(const LossyPlanner& planner) {
    for (size_t i = 0; i < plan_.streams.size(); ++i) {
      plan_.streams[i].params = planner.params()[i];
    }
  }

  const StreamInfo& InfoOf(const LossyStream& stream) const {
    return input_.target->checkpoint().streams[stream.stream];
  }

  void FindStreams() {
    const std::vector<StreamInfo>& streams = input_.target->checkpoint().streams;
    for (uint32_t i = 0; i < streams.size(); ++i) {
      const std::optional<TensorPolicy> policy = LossyPolicyOf(
          input_.policy, input_.target->checkpoint(), i, *input_.parent, input_.parent_streams);
      if (!policy.has_value()) continue;
      const TensorInfo& tensor = streams[i].tensor;
      LossyStream stream;
      stream.stream = i;
      stream.tensor.dtype = tensor.dtype;
      stream.tensor.policy = *policy;
      if (IsOutputProjection(tensor.name)) stream.tensor.fineness = kOutputFineness;
      plan_.streams.push_back(std::move(stream));
    }
  }

  // Calls `body` for every chunk of the streams for which `wanted`, in pool threads, and
  // `take` with what it found, in order.
  template <typename Wanted, typename Body, typename Take>
  absl::Status ForEachChunk(Wanted wanted, Body body, Take take) {
    OrderedTasks<ChunkFigures> tasks(pool_, [&](ChunkFigures& figures) {
      take(figures);
      return input_.advance();
    });
    for (size_t i = 0; i < plan_.streams.size(); ++i) {
      const LossyStream& stream = plan_.streams[i];
      if (!wanted(stream)) continue;
      const uint64_t size_bytes = InfoOf(stream).tensor.size_bytes;
      for (const ChunkRef& chunk : ChunksOfStream(stream.stream, size_bytes)) {
        WDELTA_RETURN_IF_ERROR(tasks.Start([this, &body, &stream, i, chunk](ChunkFigures& figures) {
          figures.index = i;
          return Read(
              stream, chunk,
              [&](CodecPool::Worker& worker, absl::string_view target, absl::string_view parent) {
                return body(worker, stream, chunk, target, parent, figures);
              });
        }));
      }
    }
    return tasks.Finish();
  }

  // In a pool thread.
  template <typename Body>
  absl::Status Read(const LossyStream& stream, const ChunkRef& chunk, Body body) {
    CodecPool::Lease worker = codecs_.Borrow();
    worker->chunk.resize(chunk.size);
    WDELTA_RETURN_IF_ERROR(
        input_.target->Read(chunk.stream, chunk.offset, chunk.size, worker->chunk.data()));
    WDELTA_ASSIGN_OR_RETURN(
        const std::optional<absl::string_view> parent,
        ReadParentChunk(input_.parent.get(), input_.parent_streams[stream.stream],
                        InfoOf(stream).tensor, chunk, worker->parent));
    if (!parent.has_value()) return absl::InternalError("a lossy tensor without parent bytes");
    return body(*worker.get(), worker->chunk, *parent);
  }

  absl::Status GatherMoments() {
    std::vector<double> weights(plan_.streams.size());
    absl::flat_hash_set<std::pair<uint32_t, uint64_t>> sampled;
    for (size_t i = 0; i < plan_.streams.size(); ++i) {
      const LossyStream& stream = plan_.streams[i];
      const ChunkSample sample = SampleOfStream(stream.stream, InfoOf(stream).tensor.size_bytes);
      weights[i] = sample.weight;
      for (const ChunkRef& chunk : sample.chunks) sampled.emplace(chunk.stream, chunk.offset);
    }
    const auto measure = [&](CodecPool::Worker& worker, const LossyStream& stream,
                             const ChunkRef& chunk, absl::string_view target,
                             absl::string_view parent, ChunkFigures& figures) -> absl::Status {
      WDELTA_ASSIGN_OR_RETURN(figures.moments, MeasureDelta(stream.tensor.dtype, target, parent));
      if (!sampled.contains({chunk.stream, chunk.offset})) return absl::OkStatus();
      WDELTA_ASSIGN_OR_RETURN(
          const EncodedChunk encoded,
          worker.codec.Encode(LaneFormatOf(stream.tensor.dtype), target, parent));
      figures.lossless_bits = 8.0 * static_cast<double>(encoded.payload.size());
      return absl::OkStatus();
    };
    return ForEachChunk([](const LossyStream&) { return true; }, measure,
                        [&](const ChunkFigures& figures) {
                          LossyTensor& tensor = plan_.streams[figures.index].tensor;
                          tensor.moments.Add(figures.moments);
                          tensor.lossless_bits += weights[figures.index] * figures.lossless_bits;
                        });
  }

  // A delta to another model is longer or shorter than the one that was meant, so that the
  // same error is a smaller or larger part of it.
  absl::Status RelateToDeclared() {
    std::vector<DeltaMoments> declared(plan_.streams.size());
    const auto measure = [&](CodecPool::Worker& worker, const LossyStream& stream,
                             const ChunkRef& chunk, absl::string_view target, absl::string_view,
                             ChunkFigures& figures) -> absl::Status {
      WDELTA_ASSIGN_OR_RETURN(
          const std::optional<absl::string_view> other,
          ReadParentChunk(input_.declared.get(), input_.declared_streams[stream.stream],
                          InfoOf(stream).tensor, chunk, worker.parent));
      WDELTA_ASSIGN_OR_RETURN(figures.moments, MeasureDelta(stream.tensor.dtype, target, *other));
      return absl::OkStatus();
    };
    WDELTA_RETURN_IF_ERROR(ForEachChunk(
        [&](const LossyStream& stream) { return DeclaredHas(stream); }, measure,
        [&](const ChunkFigures& figures) { declared[figures.index].Add(figures.moments); }));
    // Tensors that share a target meet it together: by target, the squares of both deltas.
    std::map<double, std::pair<double, double>> squares;
    for (size_t i = 0; i < plan_.streams.size(); ++i) {
      const LossyTensor& tensor = plan_.streams[i].tensor;
      const double own = tensor.moments.squared_delta;
      const bool is_related = DeclaredHas(plan_.streams[i]) && declared[i].finite;
      auto& [meant, coded] = squares[tensor.policy.relative_error];
      meant += is_related ? declared[i].squared_delta : own;
      coded += own;
    }
    for (LossyStream& stream : plan_.streams) {
      double& target = stream.tensor.policy.relative_error;
      const auto& [meant, coded] = squares[target];
      if (coded > 0) target *= std::sqrt(meant / coded);
    }
    double all_meant = 0, all_coded = 0;
    for (const auto& [target, square] : squares) {
      all_meant += square.first;
      all_coded += square.second;
    }
    if (all_meant > 0) plan_.delta_ratio = std::sqrt(all_coded / all_meant);
    return absl::OkStatus();
  }

  bool DeclaredHas(const LossyStream& stream) const {
    const std::optional<uint32_t> match = input_.declared_streams[stream.stream];
    if (!match.has_value()) return false;
    const TensorInfo& tensor = InfoOf(stream).tensor;
    const TensorInfo& other = input_.declared->checkpoint().streams[*match].tensor;
    return DTypesMatch(tensor, other) && other.shape == tensor.shape;
  }

  // What the present parameters do, by stream.
  absl::StatusOr<std::vector<LossyOutcome>> Measure() {
    std::vector<LossyOutcome> outcomes(plan_.streams.size());
    for (size_t i = 0; i < plan_.streams.size(); ++i) {
      const LossyStream& stream = plan_.streams[i];
      if (stream.params.strategy != Strategy::kLossless) continue;
      outcomes[i].weights = stream.tensor.moments.weights;
      outcomes[i].squared_delta = stream.tensor.moments.squared_delta;
      outcomes[i].bits = stream.tensor.lossless_bits;
    }
    const auto measure = [&](CodecPool::Worker& worker, const LossyStream& stream,
                             const ChunkRef& chunk, absl::string_view target,
                             absl::string_view parent, ChunkFigures& figures) -> absl::Status {
      const ChunkGeometry geometry = GeometryOf(InfoOf(stream).tensor, chunk.offset);
      WDELTA_RETURN_IF_ERROR(worker.codec.EncodeLossy(stream.tensor.dtype, geometry, target, parent,
                                                      stream.params, worker.lossy));
      figures.outcome = worker.lossy.outcome;
      return absl::OkStatus();
    };
    WDELTA_RETURN_IF_ERROR(ForEachChunk(
        [](const LossyStream& stream) { return stream.params.strategy != Strategy::kLossless; },
        measure,
        [&](const ChunkFigures& figures) { outcomes[figures.index].Add(figures.outcome); }));
    return outcomes;
  }

  const LossyPlanInput& input_;
  ThreadPool* const pool_;
  CodecPool codecs_;
  LossyPlan plan_;
};

}  // namespace

std::optional<TensorPolicy> LossyPolicyOf(
    const store::v1::FidelityPolicy& policy, const Checkpoint& target, uint32_t stream,
    const ContentSource& parent, const std::vector<std::optional<uint32_t>>& parent_streams) {
  const TensorInfo& tensor = target.streams[stream].tensor;
  if (target.streams[stream].kind != StreamKind::kTensor || !CanBeLossy(tensor.dtype) ||
      tensor.shape.size() < 2 || tensor.size_bytes == 0 || !parent_streams[stream].has_value()) {
    return std::nullopt;
  }
  const TensorInfo& other = parent.checkpoint().streams[*parent_streams[stream]].tensor;
  if (!DTypesMatch(tensor, other) || other.shape != tensor.shape) return std::nullopt;
  const TensorPolicy found = PolicyOf(policy, tensor.name);
  if (found.strategy == Strategy::kLossless) return std::nullopt;
  return found;
}

const LossyStream* LossyPlan::Find(uint32_t stream) const {
  const auto found = std::lower_bound(
      streams.begin(), streams.end(), stream,
      [](const LossyStream& candidate, uint32_t index) { return candidate.stream < index; });
  return found == streams.end() || found->stream != stream ? nullptr : &*found;
}

bool LossyPlan::IsLossy() const {
  return std::any_of(streams.begin(), streams.end(), [](const LossyStream& stream) {
    return stream.params.strategy != Strategy::kLossless;
  });
}

absl::StatusOr<LossyPlan> PlanLossy(const LossyPlanInput& input, ThreadPool* pool) {
  return Planning(input, pool).Run();
}

}  // namespace wdelta

#include "storage/engine/encoding/low_rank/correction_choice.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "storage/base/status_macros.h"
#include "storage/engine/content/ordered_tasks.h"
#include "storage/engine/encoding/low_rank/delta_matrix.h"
#include "storage/engine/encoding/low_rank/range_finder.h"
#include "storage/engine/encoding/low_rank/rank_estimate.h"

namespace wdelta {
namespace {

constexpr size_t kMaxMeasuredChunks = 4;
constexpr double kWorthIt = 0.95;  // of the bytes without

bool IsLossy(const DeltaEncoderInput& input, uint32_t stream) {
  const LossyStream* lossy = input.lossy == nullptr ? nullptr : input.lossy->Find(stream);
  return lossy != nullptr && lossy->params.strategy != Strategy::kLossless;
}

bool IsEqual(const DeltaEncoderInput& input, uint32_t stream, uint32_t parent_stream) {
  const std::optional<Digest> digest = input.target->StreamDigest(stream);
  return digest.has_value() && digest == input.parent->StreamDigest(parent_stream);
}

// Makes factors of the first `rows` rows those of the whole tensor. False: it cannot have them.
bool SpreadOver(const TensorInfo& tensor, uint64_t rows, Correction& correction) {
  const std::optional<uint64_t> size_bytes = FactorBytes(tensor, correction.form);
  if (!size_bytes.has_value()) return false;
  const uint64_t u_bytes = rows * correction.form.rank * LaneBytes(correction.form.factor_dtype);
  correction.factors.insert(u_bytes, *size_bytes - correction.factors.size(), '\0');
  return true;
}

absl::StatusOr<std::vector<CorrectionPtr>> FindCandidates(const DeltaEncoderInput& input,
                                                          const DeltaMatrix& matrix,
                                                          const ChunkEncoder& chunks,
                                                          ThreadPool* pool) {
  std::vector<CorrectionPtr> candidates;
  const uint32_t stream = matrix.stream();
  if (chunks.HasStoredParent(stream)) {
    const std::shared_ptr<const WdeltaReader> stored = input.target->stored();
    const std::optional<WdeltaCorrection>& found = stored->file().streams[stream].correction;
    if (found.has_value()) {
      WDELTA_ASSIGN_OR_RETURN(std::string factors, stored->ReadFactors(stream));
      candidates.push_back(std::make_shared<const PlannedCorrection>(
          PlannedCorrection{{found->form, std::move(factors)}, true}));
      return candidates;
    }
  }
  WDELTA_ASSIGN_OR_RETURN(const RankEstimate estimate, EstimateRank(matrix));
  if (estimate.rank == 0) return candidates;
  const std::function<absl::Status()> advance = [&input] { return input.advance(0); };
  WDELTA_ASSIGN_OR_RETURN(std::vector<Correction> found,
                          FindFactors(matrix, estimate, pool, advance));
  const TensorInfo& tensor = input.target->checkpoint().streams[stream].tensor;
  for (Correction& correction : found) {
    if (!SpreadOver(tensor, matrix.rows(), correction)) continue;
    candidates.push_back(
        std::make_shared<const PlannedCorrection>(PlannedCorrection{std::move(correction)}));
  }
  return candidates;
}

// Of all payloads of the stream, extrapolated from some of the matrix.
absl::StatusOr<double> MeasureBytes(const DeltaEncoderInput& input, const DeltaMatrix& matrix,
                                    const CorrectionPtr& correction, ChunkEncoder& chunks,
                                    ThreadPool* pool) {
  const uint64_t size_bytes = input.target->checkpoint().streams[matrix.stream()].tensor.size_bytes;
  const std::vector<ChunkRef> all = ChunksOfStream(matrix.stream(), matrix.tensor().size_bytes);
  const size_t count = std::min(all.size(), kMaxMeasuredChunks);
  uint64_t payload_bytes = 0;
  uint64_t measured_bytes = 0;
  OrderedTasks<ChunkResult> tasks(pool, [&](ChunkResult& result) {
    payload_bytes += result.encoded.payload.size();
    measured_bytes += result.at.size;
    return input.advance(0);
  });
  for (size_t i = 0; i < count; ++i) {
    const ChunkRef& at = all[(2 * i + 1) * all.size() / (2 * count)];
    WDELTA_RETURN_IF_ERROR(tasks.Start([&chunks, &correction, at](ChunkResult& result) {
      return chunks.Encode(at, correction, nullptr, result);
    }));
  }
  WDELTA_RETURN_IF_ERROR(tasks.Finish());
  const double factor_bytes =
      correction == nullptr ? 0 : static_cast<double>(correction->correction.factors.size());
  return factor_bytes + static_cast<double>(payload_bytes) * static_cast<double>(size_bytes) /
                            static_cast<double>(measured_bytes);
}

}  // namespace

std::optional<DeltaMatrix> MatrixToCorrect(const DeltaEncoderInput& input, uint32_t stream) {
  if (input.parent == nullptr || !input.parent_streams[stream].has_value()) return std::nullopt;
  const uint32_t parent_stream = *input.parent_streams[stream];
  if (IsLossy(input, stream) || IsEqual(input, stream, parent_stream)) return std::nullopt;
  return DeltaMatrix::Of(*input.target, stream, *input.parent, parent_stream);
}

absl::StatusOr<MeasuredCorrection> ChooseCorrection(const DeltaEncoderInput& input,
                                                    const DeltaMatrix& matrix, ChunkEncoder& chunks,
                                                    ThreadPool* pool) {
  MeasuredCorrection best;
  WDELTA_ASSIGN_OR_RETURN(const std::vector<CorrectionPtr> candidates,
                          FindCandidates(input, matrix, chunks, pool));
  if (candidates.empty()) return best;
  WDELTA_ASSIGN_OR_RETURN(const double without, MeasureBytes(input, matrix, nullptr, chunks, pool));
  double least = kWorthIt * without;
  for (const CorrectionPtr& candidate : candidates) {
    WDELTA_ASSIGN_OR_RETURN(const double bytes,
                            MeasureBytes(input, matrix, candidate, chunks, pool));
    if (bytes > least) continue;
    least = bytes;
    best = {candidate, bytes / std::max(without, 1.0)};
  }
  return best;
}

}  // namespace wdelta

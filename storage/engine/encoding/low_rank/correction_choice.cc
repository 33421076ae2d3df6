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
#include "storage/engine/encoding/low_rank/share_estimate.h"

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

// What corrections leave of the payload of a matrix's stream.
class Shares {
 public:
  Shares(const CorrectionSearch& search, const DeltaMatrix& matrix)
      : search_(search), matrix_(matrix) {}

  // Takes what there is to take before candidates are known.
  absl::Status Begin() {
    if (search_.is_measured) return absl::OkStatus();
    WDELTA_ASSIGN_OR_RETURN(ShareEstimate estimate, ShareEstimate::Of(matrix_, WholeTensor()));
    estimate_.emplace(std::move(estimate));
    return absl::OkStatus();
  }

  // Bits of a lane that a correction has to save; 0: any will do.
  double LeastGain() const {
    return estimate_.has_value() ? (1 - kWorthIt) * estimate_->bits_a_lane() : 0;
  }

  // Factors included.
  absl::StatusOr<double> With(const CorrectionPtr& correction) {
    if (estimate_.has_value()) return estimate_->With(correction->correction);
    if (!without_.has_value()) {
      WDELTA_ASSIGN_OR_RETURN(without_, MeasureBytes(nullptr));
    }
    WDELTA_ASSIGN_OR_RETURN(const double bytes, MeasureBytes(correction));
    return bytes / std::max(*without_, 1.0);
  }

 private:
  const TensorInfo& WholeTensor() const {
    return search_.input.target->checkpoint().streams[matrix_.stream()].tensor;
  }
  // Of all payloads of the stream, extrapolated from some of the matrix.
  absl::StatusOr<double> MeasureBytes(const CorrectionPtr& correction);

  const CorrectionSearch& search_;
  const DeltaMatrix& matrix_;
  std::optional<ShareEstimate> estimate_;
  std::optional<double> without_;  // bytes
};

absl::StatusOr<double> Shares::MeasureBytes(const CorrectionPtr& correction) {
  const std::vector<ChunkRef> all = ChunksOfStream(matrix_.stream(), matrix_.tensor().size_bytes);
  const size_t count = std::min(all.size(), kMaxMeasuredChunks);
  uint64_t payload_bytes = 0;
  uint64_t measured_bytes = 0;
  OrderedTasks<ChunkResult> tasks(search_.pool, [&](ChunkResult& result) {
    payload_bytes += result.encoded.payload.size();
    measured_bytes += result.at.size;
    return search_.advance();
  });
  for (size_t i = 0; i < count; ++i) {
    const ChunkRef& at = all[(2 * i + 1) * all.size() / (2 * count)];
    WDELTA_RETURN_IF_ERROR(tasks.Start([this, &correction, at](ChunkResult& result) {
      return search_.chunks.Encode(at, correction, nullptr, result);
    }));
  }
  WDELTA_RETURN_IF_ERROR(tasks.Finish());
  const double factor_bytes =
      correction == nullptr ? 0 : static_cast<double>(correction->correction.factors.size());
  return factor_bytes + static_cast<double>(payload_bytes) *
                            static_cast<double>(WholeTensor().size_bytes) /
                            static_cast<double>(measured_bytes);
}

// That of the target's stored form, if it has one.
absl::StatusOr<CorrectionPtr> StoredCorrection(const CorrectionSearch& search, uint32_t stream) {
  if (!search.chunks.HasStoredParent(stream)) return nullptr;
  const std::shared_ptr<const WdeltaReader> stored = search.input.target->stored();
  const std::optional<WdeltaCorrection>& found = stored->file().streams[stream].correction;
  if (!found.has_value()) return nullptr;
  WDELTA_ASSIGN_OR_RETURN(std::string factors, stored->ReadFactors(stream));
  return std::make_shared<const PlannedCorrection>(
      PlannedCorrection{{found->form, std::move(factors)}, true});
}

absl::StatusOr<std::vector<CorrectionPtr>> FindCandidates(const CorrectionSearch& search,
                                                          const DeltaMatrix& matrix,
                                                          Shares& shares) {
  std::vector<CorrectionPtr> candidates;
  WDELTA_ASSIGN_OR_RETURN(CorrectionPtr stored, StoredCorrection(search, matrix.stream()));
  if (stored != nullptr) {
    WDELTA_RETURN_IF_ERROR(shares.Begin());
    candidates.push_back(std::move(stored));
    return candidates;
  }
  WDELTA_ASSIGN_OR_RETURN(const RankEstimate estimate, EstimateRank(matrix));
  if (estimate.rank == 0) return candidates;
  WDELTA_RETURN_IF_ERROR(shares.Begin());
  const FactorSearch wanted{search.input.effort, shares.LeastGain()};
  WDELTA_ASSIGN_OR_RETURN(std::vector<Correction> found,
                          FindFactors(matrix, estimate, wanted, search.pool, search.advance));
  const TensorInfo& tensor = search.input.target->checkpoint().streams[matrix.stream()].tensor;
  for (Correction& correction : found) {
    if (!SpreadOver(tensor, matrix.rows(), correction)) continue;
    candidates.push_back(
        std::make_shared<const PlannedCorrection>(PlannedCorrection{std::move(correction)}));
  }
  return candidates;
}

}  // namespace

std::optional<DeltaMatrix> MatrixToCorrect(const DeltaEncoderInput& input, uint32_t stream) {
  if (input.parent == nullptr || !input.parent_streams[stream].has_value()) return std::nullopt;
  const uint32_t parent_stream = *input.parent_streams[stream];
  if (IsLossy(input, stream) || IsEqual(input, stream, parent_stream)) return std::nullopt;
  return DeltaMatrix::Of(*input.target, stream, *input.parent, parent_stream);
}

absl::StatusOr<MeasuredCorrection> ChooseCorrection(const CorrectionSearch& search,
                                                    const DeltaMatrix& matrix) {
  MeasuredCorrection best;
  Shares shares(search, matrix);
  WDELTA_ASSIGN_OR_RETURN(const std::vector<CorrectionPtr> candidates,
                          FindCandidates(search, matrix, shares));
  double least = kWorthIt;
  for (const CorrectionPtr& candidate : candidates) {
    WDELTA_ASSIGN_OR_RETURN(const double share, shares.With(candidate));
    if (share > least) continue;
    least = share;
    best = {candidate, share};
  }
  return best;
}

}  // namespace wdelta

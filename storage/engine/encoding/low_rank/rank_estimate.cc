#include "storage/engine/encoding/low_rank/rank_estimate.h"

#include <algorithm>
#include <vector>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/codec/kernels/range_kernels.h"

namespace wdelta {
namespace {

constexpr uint64_t kMinDimension = 64;
constexpr uint64_t kDimensionsARank = 16;  // of the shorter side, for each rank
constexpr uint64_t kMaxGroups = 4;         // of neighbouring rows, in as few chunks
constexpr uint64_t kBytesAGroup = 16 * limits::kChunkBytes;  // of the tensor
constexpr uint64_t kFirstRows = 64;
constexpr uint64_t kSpareRows = 32;  // beyond those that a rank could explain
// Also bounds what the range finder holds for each thread.
constexpr uint64_t kMaxSampleNumbers = uint64_t{2} << 20;
constexpr uint64_t kMaxFoundFactorBytes = 4 * limits::kMiB;
// Of the columns that the range finder holds, which are a few more than the rank.
constexpr uint64_t kMaxHeldNumbers = uint64_t{8} << 20;
constexpr uint64_t kSpareColumns = 16;
// Changes of fewer weights are cheap as they are.
constexpr double kMinChanged = 1.0 / 8;
// Of what a matrix of independent numbers gives.
constexpr double kLowParticipation = 0.85;
constexpr double kLowResidual = 0.5;
// Above the least residual: what more of rank would take away is noise.
constexpr double kFloorTolerance = 1.25;

uint64_t GroupsOf(const DeltaMatrix& matrix) {
  return std::clamp<uint64_t>(matrix.tensor().size_bytes / kBytesAGroup, 1, kMaxGroups);
}

uint64_t FirstRowsBytes(const DeltaMatrix& matrix) {
  return kFirstRows * matrix.columns() * LaneBytes(matrix.tensor().dtype);
}

absl::StatusOr<ThinMatrix> ReadRows(const DeltaMatrix& matrix, uint64_t wanted) {
  const uint64_t groups = matrix.is_held() ? wanted : GroupsOf(matrix);
  const uint64_t rows_a_group = wanted / groups;
  ThinMatrix rows(groups * rows_a_group, matrix.columns());
  DeltaRun run;
  for (uint64_t g = 0; g < groups; ++g) {
    const uint64_t first_row =
        (matrix.rows() - rows_a_group) * g / std::max<uint64_t>(groups - 1, 1);
    const uint64_t count = rows_a_group * matrix.columns();
    WDELTA_ASSIGN_OR_RETURN(const float* const numbers,
                            matrix.Read(first_row * matrix.columns(), count, run));
    std::copy_n(numbers, count, rows.row(g * rows_a_group));
  }
  return rows;
}

// Some of the columns of `rows`, as rows.
ThinMatrix SampleColumns(const ThinMatrix& rows) {
  const size_t count = std::min(rows.width, rows.rows);
  ThinMatrix columns(count, rows.rows);
  for (size_t c = 0; c < count; ++c) {
    const size_t column = c * rows.width / count;
    for (size_t i = 0; i < rows.rows; ++i) columns.row(c)[i] = rows.row(i)[column];
  }
  return columns;
}

// Of independent numbers, (trace G)^2 / trace G^2 is about 1 / (1 / rows + 1 / columns); a rank r
// adds 1 / r to the sum.
bool IsLow(const ThinMatrix& sample) {
  size_t changed = 0;
  for (const float number : sample.numbers) changed += number != 0 ? 1 : 0;
  if (static_cast<double>(changed) < kMinChanged * static_cast<double>(sample.numbers.size())) {
    return false;
  }
  ThinMatrix gram(sample.width, sample.width);
  kernels::AddTransposedTimes({sample.numbers.data(), sample.numbers.size(), 0, sample.width},
                              sample.numbers.data(), sample.width, gram.numbers.data());
  double trace = 0;
  for (size_t i = 0; i < sample.width; ++i) trace += gram.row(i)[i];
  const double squares = kernels::SumOfSquares(gram.numbers.data(), gram.numbers.size());
  if (!(squares > 0)) return false;
  const double independent =
      1 / (1 / static_cast<double>(sample.rows) + 1 / static_cast<double>(sample.width));
  return trace * trace / squares < kLowParticipation * independent;
}

void FindRank(const ThinMatrix& sample, uint32_t max_rank, RankEstimate& estimate) {
  const size_t size = sample.width;
  std::vector<double> residuals = CholeskyResiduals(Gram(sample), size, max_rank);
  const double whole = residuals[0];
  const auto left = [](size_t count, size_t k) {
    return static_cast<double>(count) / static_cast<double>(count - k);
  };
  // A rank also explains its share of the noise.
  for (size_t k = 0; k < residuals.size(); ++k) {
    residuals[k] *= left(size, k) * left(sample.rows, k);
  }
  const double least = *std::min_element(residuals.begin(), residuals.end());
  if (!(least < kLowResidual * whole)) return;
  const auto found = std::find_if(residuals.begin(), residuals.end(), [&](double residual) {
    return residual <= kFloorTolerance * least;
  });
  estimate.rank = static_cast<uint32_t>(found - residuals.begin());
  estimate.left = *found / whole;
}

}  // namespace

uint32_t MaxRankOf(const DeltaMatrix& matrix) {
  const uint64_t shorter = std::min(matrix.rows(), matrix.columns());
  if (shorter < kMinDimension) return 0;
  auto rank = static_cast<uint32_t>(
      std::min<uint64_t>(limits::kMaxCorrectionRank, shorter / kDimensionsARank));
  const auto fits = [&] {
    const std::optional<uint64_t> size_bytes = FactorBytes(matrix.tensor(), {rank, DType::kF16});
    return size_bytes.has_value() && *size_bytes <= kMaxFoundFactorBytes &&
           (2 * rank + kSpareRows) * matrix.columns() <= kMaxSampleNumbers &&
           (rank + kSpareColumns) * (matrix.rows() + matrix.columns()) <= kMaxHeldNumbers;
  };
  while (rank > 0 && !fits()) --rank;
  return rank;
}

absl::StatusOr<bool> MayHaveLowRank(const DeltaMatrix& matrix) {
  if (MaxRankOf(matrix) == 0) return false;
  WDELTA_ASSIGN_OR_RETURN(const ThinMatrix rows, ReadRows(matrix, kFirstRows));
  return IsLow(SampleColumns(rows));
}

bool IsToldByFirstChunk(const DeltaMatrix& matrix) {
  return GroupsOf(matrix) == 1 && FirstRowsBytes(matrix) <= limits::kChunkBytes;
}

bool MayHaveLowRank(const DeltaMatrix& matrix, absl::string_view target, absl::string_view parent) {
  const uint64_t bytes = FirstRowsBytes(matrix);
  if (MaxRankOf(matrix) == 0 || target.size() < bytes || parent.size() < bytes) return false;
  ThinMatrix rows(kFirstRows, matrix.columns());
  kernels::Subtract(matrix.tensor().dtype, reinterpret_cast<const uint8_t*>(target.data()),
                    reinterpret_cast<const uint8_t*>(parent.data()), rows.numbers.size(),
                    rows.numbers.data());
  return IsLow(SampleColumns(rows));
}

absl::StatusOr<RankEstimate> EstimateRank(const DeltaMatrix& matrix) {
  RankEstimate estimate;
  const uint32_t max_rank = MaxRankOf(matrix);
  if (max_rank == 0) return estimate;
  const uint64_t wanted = std::min<uint64_t>(
      matrix.rows(), std::max<uint64_t>(max_rank * 3 / 2 + kSpareRows, kFirstRows));
  if (!matrix.is_held()) {
    WDELTA_ASSIGN_OR_RETURN(estimate.rows, ReadRows(matrix, kFirstRows));
    if (!IsLow(SampleColumns(estimate.rows))) return estimate;
  }
  if (estimate.rows.rows < wanted) {
    WDELTA_ASSIGN_OR_RETURN(estimate.rows, ReadRows(matrix, wanted));
  }
  const ThinMatrix sample = SampleColumns(estimate.rows);
  const auto explained = static_cast<uint32_t>(std::min(sample.rows, sample.width) - 1);
  FindRank(sample, std::min(max_rank, explained), estimate);
  return estimate;
}

}  // namespace wdelta

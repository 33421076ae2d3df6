#include "storage/engine/encoding/low_rank/rank_estimate.h"

#include <algorithm>
#include <cmath>
#include <utility>
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

// Which rows are looked at.
struct RowGroups {
  uint64_t count = 0;
  uint64_t rows_each = 0;

  uint64_t rows() const { return count * rows_each; }
};

// As many rows as are wanted, or a few less.
RowGroups RowGroupsOf(const DeltaMatrix& matrix, uint64_t wanted) {
  const uint64_t count = matrix.is_held() ? wanted : GroupsOf(matrix);
  return {count, wanted / count};
}

uint64_t FirstRowsBytes(const DeltaMatrix& matrix) {
  return kFirstRows * matrix.columns() * LaneBytes(matrix.tensor().dtype);
}

// Calls `visit` with the place of each row among those of `groups`, and its numbers. In memory is
// a chunk of the tensor, or a row where that is more.
template <typename Visit>
absl::Status VisitRows(const DeltaMatrix& matrix, const RowGroups& groups, const Visit& visit) {
  const uint64_t columns = matrix.columns();
  const uint64_t row_bytes = columns * LaneBytes(matrix.tensor().dtype);
  const uint64_t rows_at_once = std::max<uint64_t>(limits::kChunkBytes / row_bytes, 1);
  DeltaRun run;
  for (uint64_t g = 0; g < groups.count; ++g) {
    const uint64_t first_row =
        (matrix.rows() - groups.rows_each) * g / std::max<uint64_t>(groups.count - 1, 1);
    for (uint64_t begin = 0; begin < groups.rows_each; begin += rows_at_once) {
      const uint64_t count = std::min(rows_at_once, groups.rows_each - begin);
      WDELTA_ASSIGN_OR_RETURN(const float* const numbers,
                              matrix.Read((first_row + begin) * columns, count * columns, run));
      for (uint64_t i = 0; i < count; ++i) {
        visit(g * groups.rows_each + begin + i, numbers + i * columns);
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ThinMatrix> ReadRows(const DeltaMatrix& matrix, uint64_t wanted) {
  const RowGroups groups = RowGroupsOf(matrix, wanted);
  ThinMatrix rows(groups.rows(), matrix.columns());
  WDELTA_RETURN_IF_ERROR(VisitRows(matrix, groups, [&](uint64_t i, const float* numbers) {
    std::copy_n(numbers, rows.width, rows.row(i));
  }));
  return rows;
}

// Some of the columns of some rows, as rows.
class ColumnSample {
 public:
  ColumnSample(size_t rows, size_t columns)
      : columns_(columns), sample_(std::min(columns, rows), rows) {}

  void SetRow(size_t i, const float* numbers) {
    for (size_t c = 0; c < sample_.rows; ++c) {
      sample_.row(c)[i] = numbers[c * columns_ / sample_.rows];
    }
  }
  ThinMatrix Take() { return std::move(sample_); }

 private:
  size_t columns_;
  ThinMatrix sample_;
};

ThinMatrix SampleColumns(const ThinMatrix& rows) {
  ColumnSample sample(rows.rows, rows.width);
  for (size_t i = 0; i < rows.rows; ++i) sample.SetRow(i, rows.row(i));
  return sample.Take();
}

// The same of the first rows to be looked at, which are not in memory together.
absl::StatusOr<ThinMatrix> ReadSample(const DeltaMatrix& matrix) {
  const RowGroups groups = RowGroupsOf(matrix, kFirstRows);
  ColumnSample sample(groups.rows(), matrix.columns());
  WDELTA_RETURN_IF_ERROR(VisitRows(
      matrix, groups, [&](uint64_t i, const float* numbers) { sample.SetRow(i, numbers); }));
  return sample.Take();
}

// Makes the largest magnitude 1 to 2, exactly, so that no product of two numbers that count is out
// of the range of floats.
void Scale(ThinMatrix& sample) {
  float largest = 0;
  for (const float number : sample.numbers) largest = std::max(largest, std::fabs(number));
  if (largest == 0) return;
  const double scale = std::ldexp(1.0, -std::ilogb(largest));
  for (float& number : sample.numbers) number = static_cast<float>(number * scale);
}

// Of independent numbers, (trace G)^2 / trace G^2 is about 1 / (1 / rows + 1 / columns); a rank r
// adds 1 / r to the sum.
bool IsLow(ThinMatrix sample) {
  size_t changed = 0;
  for (const float number : sample.numbers) changed += number != 0 ? 1 : 0;
  if (static_cast<double>(changed) < kMinChanged * static_cast<double>(sample.numbers.size())) {
    return false;
  }
  Scale(sample);
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
  WDELTA_ASSIGN_OR_RETURN(ThinMatrix sample, ReadSample(matrix));
  return IsLow(std::move(sample));
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
    WDELTA_ASSIGN_OR_RETURN(ThinMatrix sample, ReadSample(matrix));
    if (!IsLow(std::move(sample))) return estimate;
  }
  WDELTA_ASSIGN_OR_RETURN(estimate.rows, ReadRows(matrix, wanted));
  const ThinMatrix sample = SampleColumns(estimate.rows);
  const auto explained = static_cast<uint32_t>(std::min(sample.rows, sample.width) - 1);
  FindRank(sample, std::min(max_rank, explained), estimate);
  return estimate;
}

}  // namespace wdelta

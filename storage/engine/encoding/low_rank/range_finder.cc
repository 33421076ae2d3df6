#include "storage/engine/encoding/low_rank/range_finder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "storage/base/status_macros.h"
#include "storage/codec/kernels/convert_kernels.h"
#include "storage/codec/kernels/range_kernels.h"
#include "storage/engine/content/ordered_tasks.h"
#include "storage/engine/encoding/chunk_input.h"

namespace wdelta {
namespace {

constexpr size_t kSpareColumns = 8;
constexpr size_t kWidthMultiple = 8;
constexpr double kFactorBits = 16;
// Of the squares of all numbers: less is the rounding of this computation.
constexpr double kRoundingShare = 1e-12;
// A rank beyond which more than this is left of the squares is a place in a slow decay: the first
// columns have most of what is to be gained.
constexpr double kClearResidual = 0.1;
constexpr size_t kBlurredWidth = 16;
// Of the gain in the end, what is seen at least after the first round, and half-way in a round.
constexpr double kFirstRoundShare = 0.8;
constexpr double kFirstPassShare = 0.3;
// Of the gain that lanes then show, what squares promise at least.
constexpr double kCertainty = 0.7;

class RangeFinder {
 public:
  RangeFinder(const DeltaMatrix& matrix, const FactorSearch& search, ThreadPool* pool,
              const std::function<absl::Status()>& advance)
      : matrix_(matrix), search_(search), pool_(pool), advance_(advance) {}

  absl::StatusOr<std::vector<Correction>> Run(const RankEstimate& estimate) {
    right_ = StartingColumns(estimate);
    Outlook outlook;
    for (const double expected : {kFirstRoundShare, 1.0}) {
      Orthonormalise(right_);
      WDELTA_RETURN_IF_ERROR(Pass(false));
      // Without anything to be gained at least, one pass tells too little.
      const double half_expected = expected * kFirstPassShare * search_.least_gain;
      if (half_expected > 0 && Look(left_).gain < half_expected) return std::vector<Correction>();
      Orthonormalise(left_);
      WDELTA_RETURN_IF_ERROR(Pass(true));
      outlook = Look(right_);
      if (outlook.rank == 0 || outlook.gain < expected * kCertainty * search_.least_gain) {
        return std::vector<Correction>();
      }
    }
    return MakeCorrections(outlook);
  }

 private:
  struct PassResult {
    uint64_t first_row = 0;
    ThinMatrix sums;
    double squares = 0;
  };

  // What columns promise that are those of an orthonormal basis, multiplied by the matrix.
  struct Outlook {
    Eigen eigen;  // of their Gram matrix
    uint32_t rank = 0;
    double gain = 0;  // bits of a lane, factors paid
  };

  size_t WidthFor(const RankEstimate& estimate) const {
    const size_t all =
        (estimate.rank + kSpareColumns + kWidthMultiple - 1) / kWidthMultiple * kWidthMultiple;
    const bool is_blurred = estimate.left > kClearResidual && search_.effort == Effort::kFast;
    return is_blurred ? std::min(all, kBlurredWidth) : all;
  }

  // Sums of the rows that were looked at, with signs of a fixed seed.
  ThinMatrix StartingColumns(const RankEstimate& estimate) const {
    const size_t width = WidthFor(estimate);
    const ThinMatrix& rows = estimate.rows;
    ThinMatrix signs(rows.rows, width);
    std::mt19937 random(1);
    for (float& sign : signs.numbers) sign = random() % 2 == 0 ? 1.0f : -1.0f;
    ThinMatrix columns(rows.width, width);
    kernels::AddTransposedTimes({rows.numbers.data(), rows.numbers.size(), 0, rows.width},
                                signs.numbers.data(), width, columns.numbers.data());
    return columns;
  }

  // left = matrix * right, or right = transposed matrix * left. The sums of chunks are added in
  // their order.
  absl::Status Pass(bool is_transposed) {
    ThinMatrix& out = is_transposed ? right_ : left_;
    const uint64_t rows = is_transposed ? matrix_.columns() : matrix_.rows();
    ThinMatrix sums(rows, right_.width);
    double squares = 0;
    OrderedTasks<PassResult> tasks(pool_, [&](PassResult& part) {
      float* const to = sums.row(is_transposed ? 0 : part.first_row);
      for (size_t i = 0; i < part.sums.numbers.size(); ++i) to[i] += part.sums.numbers[i];
      squares += part.squares;
      return advance_();
    });
    for (const ChunkRef& chunk : ChunksOfStream(matrix_.stream(), matrix_.tensor().size_bytes)) {
      WDELTA_RETURN_IF_ERROR(tasks.Start([this, chunk, is_transposed](PassResult& part) {
        return Multiply(chunk, is_transposed, part);
      }));
    }
    WDELTA_RETURN_IF_ERROR(tasks.Finish());
    out = std::move(sums);
    if (!squares_.has_value()) squares_ = squares;
    return absl::OkStatus();
  }

  absl::Status Multiply(const ChunkRef& chunk, bool is_transposed, PassResult& part) const {
    const uint64_t lane_bytes = LaneBytes(matrix_.tensor().dtype);
    const uint64_t first = chunk.offset / lane_bytes;
    const uint64_t count = chunk.size / lane_bytes;
    DeltaRun scratch;
    WDELTA_ASSIGN_OR_RETURN(const float* const numbers, matrix_.Read(first, count, scratch));
    if (!squares_.has_value()) part.squares = kernels::SumOfSquares(numbers, count);
    part.first_row = first / matrix_.columns();
    const kernels::MatrixRun run{numbers, count, first % matrix_.columns(), matrix_.columns()};
    const size_t width = right_.width;
    if (is_transposed) {
      part.sums = ThinMatrix(matrix_.columns(), width);
      kernels::AddTransposedTimes(run, left_.row(part.first_row), width, part.sums.numbers.data());
    } else {
      part.sums = ThinMatrix(run.rows(), width);
      kernels::AddTimes(run, right_.numbers.data(), width, part.sums.numbers.data());
    }
    return absl::OkStatus();
  }

  // A rank costs its factors; each halving of the squares that are left saves about half a bit a
  // number.
  Outlook Look(const ThinMatrix& columns) const {
    Outlook outlook;
    outlook.eigen = EigenOfSymmetric(Gram(columns), columns.width);
    const std::vector<double>& values = outlook.eigen.values;
    const double squares = *squares_;
    if (!(squares > 0)) return outlook;
    const auto height = static_cast<double>(matrix_.rows());
    const auto width = static_cast<double>(matrix_.columns());
    const double rank_bits = kFactorBits * (height + width) / (height * width);
    double left = squares;
    const size_t limit = std::min<size_t>(values.size(), MaxRankOf(matrix_));
    for (uint32_t rank = 1; rank <= limit; ++rank) {
      left = std::max(left - values[rank - 1], kRoundingShare * squares);
      const double gain = 0.5 * std::log2(squares / left) - rank_bits * rank;
      if (!(gain > outlook.gain)) continue;
      outlook.gain = gain;
      outlook.rank = rank;
    }
    return outlook;
  }

  // With the orthonormal columns of left, matrix ~ left * right^T; the eigenvectors of
  // right^T * right turn both to the singular vectors.
  std::vector<Correction> MakeCorrections(const Outlook& outlook) const {
    std::vector<Correction> corrections;
    const uint32_t rank = outlook.rank;
    const ThinMatrix rows = Turned(left_, outlook, true);
    const ThinMatrix columns = Turned(right_, outlook, false);
    std::vector<float> factors;
    factors.reserve((rows.rows + columns.rows) * rank);
    for (size_t i = 0; i < rows.rows; ++i) {
      factors.insert(factors.end(), rows.row(i), rows.row(i) + rank);
    }
    for (uint32_t k = 0; k < rank; ++k) {
      for (size_t j = 0; j < columns.rows; ++j) factors.push_back(columns.row(j)[k]);
    }
    for (const DType dtype : {DType::kF16, DType::kF32}) {
      const CorrectionForm form{rank, dtype};
      const std::optional<uint64_t> size_bytes = FactorBytes(matrix_.tensor(), form);
      if (!size_bytes.has_value()) continue;
      Correction& made = corrections.emplace_back(Correction{form, std::string(*size_bytes, '\0')});
      kernels::Convert(DType::kF32, reinterpret_cast<const uint8_t*>(factors.data()), dtype,
                       factors.size(), reinterpret_cast<uint8_t*>(made.factors.data()));
    }
    return corrections;
  }

  // Times the eigenvectors of the rank, scaled so that both factors are about as large.
  static ThinMatrix Turned(const ThinMatrix& matrix, const Outlook& outlook, bool is_left) {
    const size_t width = matrix.width;
    std::vector<float> turn(width * width, 0.0f);
    for (uint32_t k = 0; k < outlook.rank; ++k) {
      const double fourth_root = std::sqrt(std::sqrt(outlook.eigen.values[k]));
      const double scale = is_left ? fourth_root : 1 / fourth_root;
      for (size_t i = 0; i < width; ++i) {
        turn[i * width + k] = static_cast<float>(outlook.eigen.vectors[i * width + k] * scale);
      }
    }
    return Times(matrix, turn.data(), width);
  }

  const DeltaMatrix& matrix_;
  const FactorSearch& search_;
  ThreadPool* const pool_;
  const std::function<absl::Status()>& advance_;
  ThinMatrix left_;                // a row for each row of the matrix
  ThinMatrix right_;               // a row for each column
  std::optional<double> squares_;  // the sum of all, from the first pass on
};

}  // namespace

absl::StatusOr<std::vector<Correction>> FindFactors(const DeltaMatrix& matrix,
                                                    const RankEstimate& estimate,
                                                    const FactorSearch& search, ThreadPool* pool,
                                                    const std::function<absl::Status()>& advance) {
  return RangeFinder(matrix, search, pool, advance).Run(estimate);
}

}  // namespace wdelta

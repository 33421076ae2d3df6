#include "storage/engine/encoding/low_rank/range_finder.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

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
// columns have most of what is to be gained. Otherwise the columns of the rank stand out so far
// that one round finds them.
constexpr double kClearResidual = 0.1;
constexpr size_t kBlurredWidth = 16;
// Of the gain in the end, what is seen at least after the first round, and after half of it.
constexpr double kFirstRoundShare = 0.8;
constexpr double kFirstPassShare = 0.12;
// Of the gain that lanes then show, what squares promise at least.
constexpr double kCertainty = 0.7;
// Of eigenvalues.
constexpr double kRough = 1e-8;
constexpr double kExact = 1e-24;

// As if by chance: the top bit of SplitMix64.
float SignOf(uint64_t index) {
  uint64_t bits = (index + 1) * 0x9e3779b97f4a7c15;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return bits >> 63 == 0 ? 1.0f : -1.0f;
}

// The first `count` columns of matrix * square, each rounded once: what F32 numbers are left with
// is no larger than the rounding of more.
ThinMatrix ExactTimes(const ThinMatrix& matrix, const std::vector<double>& square, size_t count) {
  ThinMatrix product(matrix.rows, matrix.width);
  for (size_t i = 0; i < matrix.rows; ++i) {
    for (size_t k = 0; k < count; ++k) {
      double sum = 0;
      for (size_t j = 0; j < matrix.width; ++j) {
        sum += matrix.row(i)[j] * square[j * matrix.width + k];
      }
      product.row(i)[k] = static_cast<float>(sum);
    }
  }
  return product;
}

class RangeFinder {
 public:
  RangeFinder(const DeltaMatrix& matrix, const FactorSearch& search, ThreadPool* pool,
              const std::function<absl::Status()>& advance)
      : matrix_(matrix), search_(search), pool_(pool), advance_(advance) {}

  absl::StatusOr<std::vector<Correction>> Run(const RankEstimate& estimate) {
    right_ = StartingColumns(estimate);
    // F32 numbers are left with so little that a second round still counts.
    const bool is_one_round = search_.effort == Effort::kFast && IsClear(estimate) &&
                              matrix_.tensor().dtype != DType::kF32;
    std::vector<double> gram = Gram(right_);
    Outlook outlook;
    for (const double expected : {is_one_round ? 1.0 : kFirstRoundShare, 1.0}) {
      Orthonormalise(right_, std::move(gram));
      WDELTA_RETURN_IF_ERROR(Pass(false));
      gram = Gram(left_);
      // A first look; without anything to be gained at least, it tells too little.
      if (expected < 1 && search_.least_gain > 0 &&
          GainBy(gram) < kFirstPassShare * search_.least_gain) {
        return std::vector<Correction>();
      }
      Orthonormalise(left_, std::move(gram));
      WDELTA_RETURN_IF_ERROR(Pass(true));
      gram = Gram(right_);
      outlook = Look(gram, expected < 1 ? kRough : kExact);
      if (outlook.rank == 0 || outlook.gain < expected * kCertainty * search_.least_gain) {
        return std::vector<Correction>();
      }
      if (is_one_round) break;
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
    Eigen eigen;
    uint32_t rank = 0;
    double gain = 0;  // bits of a lane, factors paid

    void Consider(uint32_t other_rank, double other_gain) {
      if (!(other_gain > gain)) return;
      rank = other_rank;
      gain = other_gain;
    }
  };

  static bool IsClear(const RankEstimate& estimate) { return estimate.left <= kClearResidual; }

  size_t WidthFor(const RankEstimate& estimate) const {
    const size_t all =
        (estimate.rank + kSpareColumns + kWidthMultiple - 1) / kWidthMultiple * kWidthMultiple;
    const bool is_narrow = search_.effort == Effort::kFast && !IsClear(estimate);
    return is_narrow ? std::min(all, kBlurredWidth) : all;
  }

  // Sums of the rows that were looked at, with signs that are the same every time.
  ThinMatrix StartingColumns(const RankEstimate& estimate) const {
    const size_t width = WidthFor(estimate);
    const ThinMatrix& rows = estimate.rows;
    ThinMatrix signs(rows.rows, width);
    for (size_t i = 0; i < signs.numbers.size(); ++i) signs.numbers[i] = SignOf(i);
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

  // Of columns with that Gram matrix.
  Outlook Look(std::vector<double> gram, double tolerance) const {
    Outlook outlook;
    outlook.eigen = EigenOfSymmetric(std::move(gram), right_.width, tolerance);
    double explained = 0;
    for (uint32_t rank = 1; rank <= outlook.eigen.values.size(); ++rank) {
      explained += outlook.eigen.values[rank - 1];
      outlook.Consider(rank, GainOf(rank, explained));
    }
    return outlook;
  }

  // Somewhat less than the gain of the Outlook, and told at once: some columns take the place of
  // the best combinations of columns.
  double GainBy(std::vector<double> gram) const {
    Outlook outlook;
    const size_t width = right_.width;
    const std::vector<double> residuals = CholeskyResiduals(std::move(gram), width, width);
    for (uint32_t rank = 1; rank <= width; ++rank) {
      outlook.Consider(rank, GainOf(rank, residuals[0] - residuals[rank]));
    }
    return outlook.gain;
  }

  // A rank costs its factors; each halving of the squares that are left saves about half a bit a
  // number.
  double GainOf(uint32_t rank, double explained) const {
    if (rank > MaxRankOf(matrix_) || !(*squares_ > 0)) return 0;
    const auto height = static_cast<double>(matrix_.rows());
    const auto width = static_cast<double>(matrix_.columns());
    const double left = std::max(1 - explained / *squares_, kRoundingShare);
    return -0.5 * std::log2(left) - kFactorBits * rank * (height + width) / (height * width);
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
      // F16 is far finer than what 16 bits round.
      const bool is_of_use = dtype == DType::kF16 || matrix_.tensor().dtype == DType::kF32;
      if (search_.effort == Effort::kFast && !is_of_use) continue;
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
  ThinMatrix Turned(const ThinMatrix& matrix, const Outlook& outlook, bool is_left) const {
    const size_t width = matrix.width;
    std::vector<double> turn(width * width, 0.0);
    for (uint32_t k = 0; k < outlook.rank; ++k) {
      const double fourth_root = std::sqrt(std::sqrt(outlook.eigen.values[k]));
      const double scale = is_left ? fourth_root : 1 / fourth_root;
      for (size_t i = 0; i < width; ++i) {
        turn[i * width + k] = outlook.eigen.vectors[i * width + k] * scale;
      }
    }
    if (matrix_.tensor().dtype == DType::kF32) return ExactTimes(matrix, turn, outlook.rank);
    return Times(matrix, std::vector<float>(turn.begin(), turn.end()).data(), width);
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

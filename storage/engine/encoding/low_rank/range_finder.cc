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

class RangeFinder {
 public:
  RangeFinder(const DeltaMatrix& matrix, ThreadPool* pool,
              const std::function<absl::Status()>& advance)
      : matrix_(matrix), pool_(pool), advance_(advance) {}

  absl::StatusOr<std::vector<Correction>> Run(const RankEstimate& estimate) {
    right_ = StartingColumns(estimate);
    for (int round = 0; round < 2; ++round) {
      Orthonormalise(right_);
      WDELTA_RETURN_IF_ERROR(Pass(false));
      Orthonormalise(left_);
      WDELTA_RETURN_IF_ERROR(Pass(true));
      if (BestRank(EigenOfSymmetric(Gram(right_), right_.width).values) == 0) {
        return std::vector<Correction>();
      }
    }
    return MakeCorrections();
  }

 private:
  struct PassResult {
    uint64_t first_row = 0;
    ThinMatrix sums;
    double squares = 0;
  };

  // Sums of the rows that were looked at, with signs of a fixed seed.
  ThinMatrix StartingColumns(const RankEstimate& estimate) const {
    const size_t wanted =
        (estimate.rank + kSpareColumns + kWidthMultiple - 1) / kWidthMultiple * kWidthMultiple;
    const ThinMatrix& rows = estimate.rows;
    ThinMatrix signs(rows.rows, wanted);
    std::mt19937 random(1);
    for (float& sign : signs.numbers) sign = random() % 2 == 0 ? 1.0f : -1.0f;
    ThinMatrix columns(rows.width, wanted);
    kernels::AddTransposedTimes({rows.numbers.data(), rows.numbers.size(), 0, rows.width},
                                signs.numbers.data(), wanted, columns.numbers.data());
    return columns;
  }

  // left = matrix * right, or right = transposed matrix * left. The sums of chunks are added in
  // their order.
  absl::Status Pass(bool is_transposed) {
    ThinMatrix& out = is_transposed ? right_ : left_;
    const uint64_t rows = is_transposed ? matrix_.columns() : matrix_.rows();
    ThinMatrix sums(rows, right_.width);
    squares_ = 0;
    OrderedTasks<PassResult> tasks(pool_, [&](PassResult& part) {
      float* const to = sums.row(is_transposed ? 0 : part.first_row);
      for (size_t i = 0; i < part.sums.numbers.size(); ++i) to[i] += part.sums.numbers[i];
      squares_ += part.squares;
      return advance_();
    });
    for (const ChunkRef& chunk : ChunksOfStream(matrix_.stream(), matrix_.tensor().size_bytes)) {
      WDELTA_RETURN_IF_ERROR(tasks.Start([this, chunk, is_transposed](PassResult& part) {
        return Multiply(chunk, is_transposed, part);
      }));
    }
    WDELTA_RETURN_IF_ERROR(tasks.Finish());
    out = std::move(sums);
    return absl::OkStatus();
  }

  absl::Status Multiply(const ChunkRef& chunk, bool is_transposed, PassResult& part) const {
    const uint64_t lane_bytes = LaneBytes(matrix_.tensor().dtype);
    const uint64_t first = chunk.offset / lane_bytes;
    DeltaRun run;
    WDELTA_RETURN_IF_ERROR(matrix_.Read(first, chunk.size / lane_bytes, run));
    for (const float number : run.numbers) part.squares += static_cast<double>(number) * number;
    part.first_row = first / matrix_.columns();
    const kernels::MatrixRun numbers{run.numbers.data(), run.numbers.size(),
                                     first % matrix_.columns(), matrix_.columns()};
    const size_t width = right_.width;
    if (is_transposed) {
      part.sums = ThinMatrix(matrix_.columns(), width);
      kernels::AddTransposedTimes(numbers, left_.row(part.first_row), width,
                                  part.sums.numbers.data());
    } else {
      part.sums = ThinMatrix(numbers.rows(), width);
      kernels::AddTimes(numbers, right_.numbers.data(), width, part.sums.numbers.data());
    }
    return absl::OkStatus();
  }

  // A rank costs its factors; each halving of the squares that are left saves about half a bit a
  // number. 0: none is worth it.
  uint32_t BestRank(const std::vector<double>& eigenvalues) const {
    const auto rows = static_cast<double>(matrix_.rows());
    const auto columns = static_cast<double>(matrix_.columns());
    if (!(squares_ > 0)) return 0;
    double left = squares_;
    double least = 0.5 * rows * columns * std::log2(squares_);
    uint32_t best = 0;
    const size_t limit = std::min<size_t>(eigenvalues.size(), MaxRankOf(matrix_));
    for (uint32_t rank = 1; rank <= limit; ++rank) {
      left = std::max(left - eigenvalues[rank - 1], kRoundingShare * squares_);
      const double bits =
          0.5 * rows * columns * std::log2(left) + kFactorBits * rank * (rows + columns);
      if (!(bits < least)) continue;
      least = bits;
      best = rank;
    }
    return best;
  }

  // With the orthonormal columns of left, matrix ~ left * right^T; the eigenvectors of
  // right^T * right turn both to the singular vectors.
  std::vector<Correction> MakeCorrections() const {
    std::vector<Correction> corrections;
    const size_t width = right_.width;
    const Eigen eigen = EigenOfSymmetric(Gram(right_), width);
    const uint32_t rank = BestRank(eigen.values);
    if (rank == 0) return corrections;
    std::vector<float> factors;
    factors.reserve((matrix_.rows() + matrix_.columns()) * rank);
    for (uint64_t i = 0; i < matrix_.rows(); ++i) {
      for (uint32_t k = 0; k < rank; ++k) {
        factors.push_back(Turned(left_.row(i), eigen, k, std::sqrt(std::sqrt(eigen.values[k]))));
      }
    }
    for (uint32_t k = 0; k < rank; ++k) {
      for (uint64_t j = 0; j < matrix_.columns(); ++j) {
        factors.push_back(
            Turned(right_.row(j), eigen, k, 1 / std::sqrt(std::sqrt(eigen.values[k]))));
      }
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

  static float Turned(const float* row, const Eigen& eigen, uint32_t k, double scale) {
    const size_t width = eigen.values.size();
    double sum = 0;
    for (size_t i = 0; i < width; ++i) sum += row[i] * eigen.vectors[i * width + k];
    return static_cast<float>(sum * scale);
  }

  const DeltaMatrix& matrix_;
  ThreadPool* const pool_;
  const std::function<absl::Status()>& advance_;
  ThinMatrix left_;   // a row for each row of the matrix
  ThinMatrix right_;  // a row for each column
  double squares_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<Correction>> FindFactors(const DeltaMatrix& matrix,
                                                    const RankEstimate& estimate, ThreadPool* pool,
                                                    const std::function<absl::Status()>& advance) {
  return RangeFinder(matrix, pool, advance).Run(estimate);
}

}  // namespace wdelta

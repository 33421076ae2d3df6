#include "storage/codec/kernels/range_kernels.h"

#include <algorithm>
#include <vector>

#include "storage/codec/kernels/real_lanes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "storage/codec/kernels/range_kernels.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Columns whose rows of the thin matrix stay in the nearest cache, and rows likewise. Each block
// has sums of its own, so that rounding adds up less.
constexpr size_t kColumnBlock = 64;
constexpr size_t kRowBlock = 64;
// Sums that do not wait for each other, in as many registers.
constexpr size_t kTileRows = 8;
constexpr size_t kTileColumns = HWY_MAX_BYTES >= 64 ? 16 : 8;
constexpr size_t kGramRows = 8;

template <class Lanes>
void SubtractLanes(const uint8_t* target, const uint8_t* parent, size_t count, float* difference) {
  constexpr uint32_t kInfinity = 0x7f800000;
  for (size_t i = 0; i < count; ++i) {
    const float number = LoadReal<Lanes>(target, i) - LoadReal<Lanes>(parent, i);
    const bool is_finite = (BitsAs<uint32_t>(number) & kInfinity) != kInfinity;
    difference[i] = is_finite ? number : 0;
  }
}

// The CPU's own conversion of F16 is exact but for NaNs, of which there is no difference.
void SubtractHalves(const uint8_t* target, const uint8_t* parent, size_t count, float* difference) {
  size_t done = 0;
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && !defined(HWY_DISABLE_F16C)
  const hn::CappedTag<float, 16> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> halves;
  const auto* const targets = reinterpret_cast<const hwy::float16_t*>(target);
  const auto* const parents = reinterpret_cast<const hwy::float16_t*>(parent);
  for (; done + hn::Lanes(d) <= count; done += hn::Lanes(d)) {
    const auto number = hn::Sub(hn::PromoteTo(d, hn::LoadU(halves, targets + done)),
                                hn::PromoteTo(d, hn::LoadU(halves, parents + done)));
    hn::StoreU(hn::IfThenElseZero(hn::IsFinite(number), number), d, difference + done);
  }
#endif
  SubtractLanes<F16Lanes>(target + 2 * done, parent + 2 * done, count - done, difference + done);
}

void SubtractForTarget(DType dtype, const uint8_t* target, const uint8_t* parent, size_t count,
                       float* difference) {
  switch (dtype) {
    case DType::kF16:
      return SubtractHalves(target, parent, count, difference);
    case DType::kBF16:
      return SubtractLanes<BF16Lanes>(target, parent, count, difference);
    default:
      return SubtractLanes<F32Lanes>(target, parent, count, difference);
  }
}

// Calls work(tag, k) for vectors of numbers from k on that make up a thin row.
template <class Work>
HWY_INLINE void ForEachVector(size_t width, Work work) {
  const hn::CappedTag<float, 16> wide;
  const hn::CappedTag<float, 8> narrow;
  const hn::CappedTag<float, 1> one;
  size_t k = 0;
  for (; k + hn::Lanes(wide) <= width; k += hn::Lanes(wide)) work(wide, k);
  for (; k + hn::Lanes(narrow) <= width; k += hn::Lanes(narrow)) work(narrow, k);
  for (; k < width; ++k) work(one, k);
}

// kSums neighbouring rows (or columns) from `numbers` on, `apart` from each other, each the sum of
// `count` rows of `thin` times its numbers, which are `step` from each other.
template <size_t kSums, class D>
HWY_INLINE void ProductTile(D d, const float* numbers, size_t apart, size_t step, size_t count,
                            const float* thin, size_t width, float* sums) {
  hn::Vec<D> added[kSums];
  for (size_t i = 0; i < kSums; ++i) added[i] = hn::Zero(d);
  for (size_t k = 0; k < count; ++k) {
    const auto factors = hn::LoadU(d, thin + k * width);
    for (size_t i = 0; i < kSums; ++i) {
      added[i] = hn::Add(added[i], hn::Mul(hn::Set(d, numbers[i * apart + k * step]), factors));
    }
  }
  for (size_t i = 0; i < kSums; ++i) {
    hn::StoreU(hn::Add(hn::LoadU(d, sums + i * width), added[i]), d, sums + i * width);
  }
}

void TimesRows(const float* numbers, size_t rows, size_t columns, size_t count, const float* right,
               size_t width, float* sums) {
  for (size_t c = 0; c < count; c += kColumnBlock) {
    const size_t block = std::min(kColumnBlock, count - c);
    size_t r = 0;
    for (; r + kTileRows <= rows; r += kTileRows) {
      ForEachVector(width, [=](auto d, size_t k) {
        ProductTile<kTileRows>(d, numbers + r * columns + c, columns, 1, block,
                               right + c * width + k, width, sums + r * width + k);
      });
    }
    for (; r < rows; ++r) {
      ForEachVector(width, [=](auto d, size_t k) {
        ProductTile<1>(d, numbers + r * columns + c, columns, 1, block, right + c * width + k,
                       width, sums + r * width + k);
      });
    }
  }
}

void TransposedRows(const float* numbers, size_t rows, size_t columns, size_t count,
                    const float* left, size_t width, float* sums) {
  for (size_t r = 0; r < rows; r += kRowBlock) {
    const size_t block = std::min(kRowBlock, rows - r);
    size_t c = 0;
    for (; c + kTileColumns <= count; c += kTileColumns) {
      ForEachVector(width, [=](auto d, size_t k) {
        ProductTile<kTileColumns>(d, numbers + r * columns + c, 1, columns, block,
                                  left + r * width + k, width, sums + c * width + k);
      });
    }
    for (; c < count; ++c) {
      ForEachVector(width, [=](auto d, size_t k) {
        ProductTile<1>(d, numbers + r * columns + c, 1, columns, block, left + r * width + k, width,
                       sums + c * width + k);
      });
    }
  }
}

// Calls work(numbers, row, column, rows, count) for the numbers of the first row where they are
// not all, for all whole rows, and for the numbers of the last.
template <class Work>
void ForEachPart(const MatrixRun& run, Work work) {
  if (run.count == 0) return;
  const float* numbers = run.numbers;
  size_t left = run.count;
  size_t row = 0;
  if (run.first_column > 0) {
    const size_t count = std::min(left, run.columns - run.first_column);
    work(numbers, row, run.first_column, size_t{1}, count);
    numbers += count;
    left -= count;
    ++row;
  }
  const size_t rows = left / run.columns;
  work(numbers, row, size_t{0}, rows, run.columns);
  numbers += rows * run.columns;
  left -= rows * run.columns;
  if (left > 0) work(numbers, row + rows, size_t{0}, size_t{1}, left);
}

void AddTimesForTarget(const MatrixRun& run, const float* right, size_t width, float* sums) {
  ForEachPart(run, [&](const float* numbers, size_t row, size_t column, size_t rows, size_t count) {
    TimesRows(numbers, rows, run.columns, count, right + column * width, width, sums + row * width);
  });
}

void AddTransposedTimesForTarget(const MatrixRun& run, const float* left, size_t width,
                                 float* sums) {
  ForEachPart(run, [&](const float* numbers, size_t row, size_t column, size_t rows, size_t count) {
    TransposedRows(numbers, rows, run.columns, count, left + row * width, width,
                   sums + column * width);
  });
}

// kRows neighbouring rows from p on, and a vector of columns from q on, of the Gram matrix of so
// many rows.
template <size_t kRows, class D>
HWY_INLINE void GramTile(D d, const double* numbers, size_t rows, size_t width, size_t p, size_t q,
                         double* gram) {
  hn::Vec<D> added[kRows];
  for (size_t i = 0; i < kRows; ++i) added[i] = hn::Zero(d);
  for (size_t r = 0; r < rows; ++r) {
    const double* const row = numbers + r * width;
    const auto factors = hn::LoadU(d, row + q);
    for (size_t i = 0; i < kRows; ++i) {
      added[i] = hn::Add(added[i], hn::Mul(hn::Set(d, row[p + i]), factors));
    }
  }
  for (size_t i = 0; i < kRows; ++i) {
    double* const sums = gram + (p + i) * width + q;
    hn::StoreU(hn::Add(hn::LoadU(d, sums), added[i]), d, sums);
  }
}

// The columns from the vector of column p on: what is left of it follows by symmetry.
template <size_t kRows>
HWY_INLINE void GramRows(const double* numbers, size_t rows, size_t width, size_t p, double* gram) {
  const hn::CappedTag<double, 8> wide;
  const hn::CappedTag<double, 1> one;
  size_t q = p - p % hn::Lanes(wide);
  for (; q + hn::Lanes(wide) <= width; q += hn::Lanes(wide)) {
    GramTile<kRows>(wide, numbers, rows, width, p, q, gram);
  }
  for (; q < width; ++q) GramTile<kRows>(one, numbers, rows, width, p, q, gram);
}

void AddGramForTarget(const float* numbers, size_t rows, size_t width, double* gram) {
  std::vector<double> block(std::min(rows, kRowBlock) * width);
  for (size_t r = 0; r < rows; r += kRowBlock) {
    const size_t count = std::min(kRowBlock, rows - r);
    for (size_t i = 0; i < count * width; ++i) block[i] = numbers[r * width + i];
    size_t p = 0;
    for (; p + kGramRows <= width; p += kGramRows) {
      GramRows<kGramRows>(block.data(), count, width, p, gram);
    }
    for (; p < width; ++p) GramRows<1>(block.data(), count, width, p, gram);
  }
  for (size_t p = 0; p < width; ++p) {
    for (size_t q = 0; q < p; ++q) gram[p * width + q] = gram[q * width + p];
  }
}

double SumOfSquaresForTarget(const float* numbers, size_t count) {
  constexpr size_t kSums = 32;
  double sums[kSums] = {};
  size_t i = 0;
  for (; i + kSums <= count; i += kSums) {
    for (size_t j = 0; j < kSums; ++j) {
      sums[j] += static_cast<double>(numbers[i + j]) * static_cast<double>(numbers[i + j]);
    }
  }
  double sum = 0;
  for (; i < count; ++i) sum += static_cast<double>(numbers[i]) * static_cast<double>(numbers[i]);
  for (const double part : sums) sum += part;
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdelta::kernels {
namespace {

HWY_EXPORT(SubtractForTarget);
HWY_EXPORT(AddTimesForTarget);
HWY_EXPORT(AddTransposedTimesForTarget);
HWY_EXPORT(AddGramForTarget);
HWY_EXPORT(SumOfSquaresForTarget);

}  // namespace

void Subtract(DType dtype, const uint8_t* target, const uint8_t* parent, size_t count,
              float* difference) {
  HWY_DYNAMIC_DISPATCH(SubtractForTarget)(dtype, target, parent, count, difference);
}

void AddTimes(const MatrixRun& run, const float* right, size_t width, float* sums) {
  HWY_DYNAMIC_DISPATCH(AddTimesForTarget)(run, right, width, sums);
}

void AddTransposedTimes(const MatrixRun& run, const float* left, size_t width, float* sums) {
  HWY_DYNAMIC_DISPATCH(AddTransposedTimesForTarget)(run, left, width, sums);
}

void AddGram(const float* numbers, size_t rows, size_t width, double* gram) {
  HWY_DYNAMIC_DISPATCH(AddGramForTarget)(numbers, rows, width, gram);
}

double SumOfSquares(const float* numbers, size_t count) {
  return HWY_DYNAMIC_DISPATCH(SumOfSquaresForTarget)(numbers, count);
}

}  // namespace wdelta::kernels
#endif  // HWY_ONCE

#include "storage/codec/kernels/range_kernels.h"

#include <algorithm>

#include "storage/codec/kernels/real_lanes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "storage/codec/kernels/range_kernels.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {

// Columns whose rows of the thin matrix stay in the nearest cache.
constexpr size_t kColumnBlock = 64;

template <class Lanes>
void SubtractLanes(const uint8_t* target, const uint8_t* parent, size_t count, float* difference) {
  constexpr uint32_t kInfinity = 0x7f800000;
  for (size_t i = 0; i < count; ++i) {
    const float number = LoadReal<Lanes>(target, i) - LoadReal<Lanes>(parent, i);
    const bool is_finite = (BitsAs<uint32_t>(number) & kInfinity) != kInfinity;
    difference[i] = is_finite ? number : 0;
  }
}

void SubtractForTarget(DType dtype, const uint8_t* target, const uint8_t* parent, size_t count,
                       float* difference) {
  switch (dtype) {
    case DType::kF16:
      return SubtractLanes<F16Lanes>(target, parent, count, difference);
    case DType::kBF16:
      return SubtractLanes<BF16Lanes>(target, parent, count, difference);
    default:
      return SubtractLanes<F32Lanes>(target, parent, count, difference);
  }
}

inline void AddScaled(float scale, const float* from, size_t width, float* to) {
  for (size_t k = 0; k < width; ++k) to[k] += scale * from[k];
}

// Calls add(number, row, column) for all numbers, a block of columns at a time.
template <class Add>
void ForEachNumber(const MatrixRun& run, Add add) {
  const size_t end = run.first_column + run.count;  // counted from column 0 of row 0
  const size_t rows = run.rows();
  for (size_t first = 0; first < run.columns; first += kColumnBlock) {
    const size_t last = std::min(run.columns, first + kColumnBlock);
    for (size_t row = 0; row < rows; ++row) {
      const size_t begin_of_row = row * run.columns;
      const size_t from = std::max(begin_of_row + first, run.first_column);
      const size_t to = std::min(begin_of_row + last, end);
      for (size_t i = from; i < to; ++i) {
        add(run.numbers[i - run.first_column], row, i - begin_of_row);
      }
    }
  }
}

void AddTimesForTarget(const MatrixRun& run, const float* right, size_t width, float* sums) {
  ForEachNumber(run, [=](float number, size_t row, size_t column) {
    AddScaled(number, right + column * width, width, sums + row * width);
  });
}

void AddTransposedTimesForTarget(const MatrixRun& run, const float* left, size_t width,
                                 float* sums) {
  ForEachNumber(run, [=](float number, size_t row, size_t column) {
    AddScaled(number, left + row * width, width, sums + column * width);
  });
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

}  // namespace wdelta::kernels
#endif  // HWY_ONCE

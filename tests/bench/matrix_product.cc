#include "tests/bench/matrix_product.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/matrix_product.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::bench {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Columns whose weights stay in the L2 cache while all rows pass over them.
constexpr size_t kColumnBlock = 64;
constexpr size_t kTileRows = 4;
constexpr size_t kTileColumns = 2;

// A tile of kRows x kColumns dot products.
template <size_t kRows, size_t kColumns>
HWY_INLINE void DotTile(const float* x, const float* weights, size_t columns, size_t depth,
                        float* out) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const size_t vectors_end = depth - depth % lanes;
  hn::Vec<decltype(d)> sums[kRows][kColumns];
  for (auto& row : sums) {
    for (auto& sum : row) sum = hn::Zero(d);
  }
  for (size_t k = 0; k < vectors_end; k += lanes) {
    hn::Vec<decltype(d)> w[kColumns];
    for (size_t c = 0; c < kColumns; ++c) w[c] = hn::LoadU(d, weights + c * depth + k);
    for (size_t r = 0; r < kRows; ++r) {
      const auto value = hn::LoadU(d, x + r * depth + k);
      for (size_t c = 0; c < kColumns; ++c) sums[r][c] = hn::MulAdd(value, w[c], sums[r][c]);
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t c = 0; c < kColumns; ++c) {
      float sum = hn::GetLane(hn::SumOfLanes(d, sums[r][c]));
      for (size_t k = vectors_end; k < depth; ++k) sum += x[r * depth + k] * weights[c * depth + k];
      out[r * columns + c] = sum;
    }
  }
}

void MultiplyByTransposedSimd(const float* x, const float* weights, size_t rows, size_t columns,
                              size_t depth, float* out) {
  for (size_t block = 0; block < columns; block += kColumnBlock) {
    const size_t block_end = std::min(block + kColumnBlock, columns);
    size_t r = 0;
    for (; r + kTileRows <= rows; r += kTileRows) {
      size_t c = block;
      for (; c + kTileColumns <= block_end; c += kTileColumns) {
        DotTile<kTileRows, kTileColumns>(x + r * depth, weights + c * depth, columns, depth,
                                         out + r * columns + c);
      }
      for (; c < block_end; ++c) {
        DotTile<kTileRows, 1>(x + r * depth, weights + c * depth, columns, depth,
                              out + r * columns + c);
      }
    }
    for (; r < rows; ++r) {
      for (size_t c = block; c < block_end; ++c) {
        DotTile<1, 1>(x + r * depth, weights + c * depth, columns, depth, out + r * columns + c);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::bench
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdelta::bench {

HWY_EXPORT(MultiplyByTransposedSimd);

void MultiplyByTransposed(const float* x, const float* weights, size_t rows, size_t columns,
                          size_t depth, float* out) {
  HWY_DYNAMIC_DISPATCH(MultiplyByTransposedSimd)(x, weights, rows, columns, depth, out);
}

}  // namespace wdelta::bench
#endif  // HWY_ONCE

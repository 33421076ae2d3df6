#include "storage/codec/kernels/correct_kernels.h"

#include <algorithm>
#include <type_traits>

#include "storage/base/limits.h"
#include "storage/codec/kernels/real_lanes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "storage/codec/kernels/correct_kernels.cc"
#include "hwy/foreach_target.h"
// foreach_target.h must come before highway.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace wdelta::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#include "storage/codec/kernels/correct_lanes-inl.h"

using FloatTag = hn::CappedTag<float, 16>;

// Columns whose factors, side by side, stay in the nearest cache; whole pairs of vectors.
constexpr size_t kTileColumns = 64;
// Rows that share what is loaded of V.
constexpr size_t kRowsAtOnce = 4;

// Numbers behind the `count`-th of a row are not used, but computed with.
struct Tile {
  alignas(64) float v[limits::kMaxCorrectionRank * kTileColumns];
  alignas(64) float sums[kRowsAtOnce * kTileColumns];
};

template <class Lanes>
void LoadRow(const uint8_t* from, size_t first, size_t count, float* to) {
  size_t i = 0;
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2 && !defined(HWY_DISABLE_F16C)
  // The CPU's own conversion, exact as the plain one; of a NaN it may change the mantissa, and
  // what is corrected with a NaN stays as it is.
  if constexpr (std::is_same_v<Lanes, F16Lanes>) {
    const FloatTag d;
    const hn::Rebind<hwy::float16_t, FloatTag> halves;
    const auto* const numbers = reinterpret_cast<const hwy::float16_t*>(from) + first;
    for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
      hn::StoreU(hn::PromoteTo(d, hn::LoadU(halves, numbers + i)), d, to + i);
    }
  }
#endif
  for (; i < count; ++i) to[i] = LoadReal<Lanes>(from, first + i);
}

void LoadTile(const CorrectedRun& run, size_t first_column, size_t count, Tile& tile) {
  for (size_t k = 0; k < run.rank; ++k) {
    float* const to = tile.v + k * kTileColumns;
    const size_t first = k * run.columns + first_column;
    if (run.v_dtype == DType::kF16) {
      LoadRow<F16Lanes>(run.v, first, count, to);
    } else {
      LoadRow<F32Lanes>(run.v, first, count, to);
    }
    std::fill(to + count, to + kTileColumns, 0.0f);
  }
}

// Sums of the first `count` columns of kRowsAtOnce rows, or of one.
HWY_INLINE void SumRows(const float* u, size_t rank, size_t count, Tile& tile) {
  const FloatTag d;
  const size_t width = hn::Lanes(d);
  for (size_t column = 0; column < count; column += 2 * width) {
    const float* v = tile.v + column;
    auto a0 = hn::Zero(d), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, e0 = a0, e1 = a0;
    for (size_t k = 0; k < rank; ++k, v += kTileColumns) {
      const auto v0 = hn::Load(d, v);
      const auto v1 = hn::Load(d, v + width);
      const auto u0 = hn::Set(d, u[k]);
      const auto u1 = hn::Set(d, u[rank + k]);
      const auto u2 = hn::Set(d, u[2 * rank + k]);
      const auto u3 = hn::Set(d, u[3 * rank + k]);
      a0 = hn::Add(a0, hn::Mul(u0, v0));
      a1 = hn::Add(a1, hn::Mul(u0, v1));
      b0 = hn::Add(b0, hn::Mul(u1, v0));
      b1 = hn::Add(b1, hn::Mul(u1, v1));
      c0 = hn::Add(c0, hn::Mul(u2, v0));
      c1 = hn::Add(c1, hn::Mul(u2, v1));
      e0 = hn::Add(e0, hn::Mul(u3, v0));
      e1 = hn::Add(e1, hn::Mul(u3, v1));
    }
    float* const sums = tile.sums + column;
    hn::Store(a0, d, sums);
    hn::Store(a1, d, sums + width);
    hn::Store(b0, d, sums + kTileColumns);
    hn::Store(b1, d, sums + kTileColumns + width);
    hn::Store(c0, d, sums + 2 * kTileColumns);
    hn::Store(c1, d, sums + 2 * kTileColumns + width);
    hn::Store(e0, d, sums + 3 * kTileColumns);
    hn::Store(e1, d, sums + 3 * kTileColumns + width);
  }
}

HWY_INLINE void SumRow(const float* u, size_t rank, size_t count, Tile& tile) {
  const FloatTag d;
  const size_t width = hn::Lanes(d);
  for (size_t column = 0; column < count; column += 2 * width) {
    const float* v = tile.v + column;
    auto sum0 = hn::Zero(d), sum1 = sum0;
    for (size_t k = 0; k < rank; ++k, v += kTileColumns) {
      const auto factor = hn::Set(d, u[k]);
      sum0 = hn::Add(sum0, hn::Mul(factor, hn::Load(d, v)));
      sum1 = hn::Add(sum1, hn::Mul(factor, hn::Load(d, v + width)));
    }
    hn::Store(sum0, d, tile.sums + column);
    hn::Store(sum1, d, tile.sums + column + width);
  }
}

// The lanes of all rows in columns [first, last), which are those of the tile.
void CorrectTile(DType dtype, const CorrectedRun& run, size_t first, size_t last, Tile& tile,
                 uint8_t* lanes) {
  const size_t lane_bytes = LaneBytes(dtype);
  const size_t rows = run.rows();
  const size_t end = run.first_column + run.count;  // counted from column 0 of row 0
  const auto is_whole = [&](size_t row) {
    return row * run.columns + first >= run.first_column && row * run.columns + last <= end;
  };
  size_t row = 0;
  while (row < rows) {
    const size_t begin_of_row = row * run.columns;
    if (row + kRowsAtOnce <= rows && is_whole(row) && is_whole(row + kRowsAtOnce - 1)) {
      SumRows(run.u + row * run.rank, run.rank, last - first, tile);
      for (size_t i = 0; i < kRowsAtOnce; ++i) {
        const size_t at = begin_of_row + i * run.columns + first - run.first_column;
        AddSums(dtype, tile.sums + i * kTileColumns, last - first, lanes + at * lane_bytes);
      }
      row += kRowsAtOnce;
      continue;
    }
    const size_t from = std::max(begin_of_row + first, run.first_column);
    const size_t to = std::min(begin_of_row + last, end);
    if (from < to) {
      SumRow(run.u + row * run.rank, run.rank, last - first, tile);
      AddSums(dtype, tile.sums + (from - begin_of_row - first), to - from,
              lanes + (from - run.first_column) * lane_bytes);
    }
    ++row;
  }
}

void CorrectForTarget(DType dtype, const CorrectedRun& run, uint8_t* lanes) {
  Tile tile;
  // Within one row, only what stands above its run is wanted of V.
  const bool is_one_row = run.rows() == 1;
  const size_t begin = is_one_row ? run.first_column : 0;
  const size_t end = is_one_row ? run.first_column + run.count : run.columns;
  for (size_t first = begin; first < end; first += kTileColumns) {
    const size_t last = std::min(end, first + kTileColumns);
    LoadTile(run, first, last - first, tile);
    CorrectTile(dtype, run, first, last, tile, lanes);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace wdelta::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace wdelta::kernels {
namespace {

HWY_EXPORT(CorrectForTarget);

}  // namespace

void Correct(DType dtype, const CorrectedRun& run, uint8_t* lanes) {
  HWY_DYNAMIC_DISPATCH(CorrectForTarget)(dtype, run, lanes);
}

}  // namespace wdelta::kernels
#endif  // HWY_ONCE

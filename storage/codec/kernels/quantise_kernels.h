// The inner loops of the quantised mode: trellis-coded quantisation of deltas and
// its inverse. Specified in storage/wdelta/FORMAT.md ("Quantised").
//
// `kernels` runs on the best instruction set of the CPU (Highway, chosen at run
// time), `kernels::portable` is its plain twin and serves as its tail. Both give the
// same bytes on every input. No state: any thread may call them. `symbols` and
// `classes` have room for whole groups of kTrellisLanes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "storage/tensor/dtype.h"

namespace wdelta::kernels {

// Weight i is step i / kTrellisLanes of lane i mod kTrellisLanes.
inline constexpr size_t kTrellisLanes = 64;
inline constexpr int kTrellisStates = 8;
// The lane's own bits are stored elsewhere, and are given as they are.
inline constexpr uint8_t kEscapedSymbol = 255;
inline constexpr int kMaxIndex = 127;
// Reductions of the magnitudes 1 to kPoints - 1; those above share one.
inline constexpr int kPoints = 7;

// A class is kSegmentClasses * exponent class + segment class.
inline constexpr int kExponentClasses = 6;
inline constexpr int kSegmentClasses = 8;
inline constexpr int kQuantisedClasses = kExponentClasses * kSegmentClasses;

// Magnitude m stands for step * (m - reduction[min(m, kPoints)] / 2^14).
struct Reconstruction {
  double step = 0;                               // a float, unless for F64
  std::array<int16_t, kPoints + 1> reduction{};  // [0] is not used
};
inline constexpr double kReductionScale = 16384;

// Cost of an index k in squares of the step, beside its error.
struct RateModel {
  double linear = 0;     // times |k|
  double quadratic = 0;  // times k^2
  double nonzero = 0;    // for k != 0
};

// Scratch of QuantiseTrellis; reuse it.
struct TrellisScratch {
  std::vector<uint8_t> candidates;  // four symbols a weight
  std::vector<uint8_t> decisions;   // a bit a state

  void Reserve(size_t steps) {
    if (decisions.size() >= steps * kTrellisLanes) return;
    decisions.resize(steps * kTrellisLanes);
    candidates.resize(steps * 4 * kTrellisLanes);
  }
};

// Fills `symbols` with the path of least cost, errors taken after rounding to the
// dtype. Deltas of zero get index 0.
void QuantiseTrellis(DType dtype, const Reconstruction& reconstruction, const RateModel& rate,
                     const uint8_t* target, const uint8_t* parent, size_t count,
                     TrellisScratch& scratch, uint8_t* symbols);

// classes[i] = base + kSegmentClasses * clamp(1 + exponent of the ulp of parent i -
// step_exponent, 0, kExponentClasses - 1) for first <= i < count.
void ExponentClasses(DType dtype, int step_exponent, uint8_t base, const uint8_t* parent,
                     size_t first, size_t count, uint8_t* classes);

// Adds to counts[c] the classes c among [first, count), all of them as ExponentClasses
// fills them for `base`.
using ClassCounts = std::array<size_t, kQuantisedClasses>;
void CountClasses(const uint8_t* classes, uint8_t base, size_t first, size_t count,
                  ClassCounts& counts);

// The multiple of the step that each symbol stands for, without sign.
void Magnitudes(const uint8_t* symbols, size_t count, uint8_t* magnitudes);

// target = round(parent + value); the parent's bits where the magnitude is 0.
void Reconstruct(DType dtype, const Reconstruction& reconstruction, const uint8_t* symbols,
                 const uint8_t* magnitudes, const uint8_t* parent, size_t count, uint8_t* target);

// Sorts symbols by class: those of class c go to partitioned[starts[c]...], and
// starts[c] is moved behind them. Merge is the inverse. `partitioned` has
// kTrellisLanes bytes of room behind the last symbol. `present` lists the classes.
using ClassCursor = std::array<size_t, kQuantisedClasses>;
void PartitionSymbols(const uint8_t* classes, const std::vector<uint8_t>& present,
                      const uint8_t* symbols, size_t count, ClassCursor& starts,
                      uint8_t* partitioned);
void MergeSymbols(const uint8_t* classes, const std::vector<uint8_t>& present,
                  const uint8_t* partitioned, size_t count, ClassCursor& starts, uint8_t* symbols);

namespace portable {

void QuantiseTrellis(DType dtype, const Reconstruction& reconstruction, const RateModel& rate,
                     const uint8_t* target, const uint8_t* parent, size_t count,
                     TrellisScratch& scratch, uint8_t* symbols);
void ExponentClasses(DType dtype, int step_exponent, uint8_t base, const uint8_t* parent,
                     size_t first, size_t count, uint8_t* classes);
void Magnitudes(const uint8_t* symbols, size_t count, uint8_t* magnitudes);
// From weight `first` on.
void Reconstruct(DType dtype, const Reconstruction& reconstruction, const uint8_t* symbols,
                 const uint8_t* magnitudes, const uint8_t* parent, size_t first, size_t count,
                 uint8_t* target);
void PartitionSymbols(const uint8_t* classes, const uint8_t* symbols, size_t first, size_t count,
                      ClassCursor& starts, uint8_t* partitioned);
void MergeSymbols(const uint8_t* classes, const uint8_t* partitioned, size_t first, size_t count,
                  ClassCursor& starts, uint8_t* symbols);

}  // namespace portable
}  // namespace wdelta::kernels

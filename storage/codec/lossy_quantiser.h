// Quantises the deltas of one chunk: chooses the points and the model of rates from the
// chunk's moments, searches the trellis, and reconstructs as the decoder will.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "storage/codec/kernels/quantise_kernels.h"
#include "storage/codec/lossy.h"

namespace wdelta {

// Holds the results and scratch memory of one chunk after the other: one thread at a
// time, reuse it.
class LossyQuantiser {
 public:
  // `target` and `parent` hold the same number of whole lanes, all finite, of which
  // moments are given. step is positive.
  void Quantise(DType dtype, absl::string_view target, absl::string_view parent,
                const DeltaMoments& moments, const LossyParams& params);

  const kernels::Reconstruction& reconstruction() const { return reconstruction_; }
  // A symbol a weight, with room for whole groups of kTrellisLanes.
  const std::vector<uint8_t>& symbols() const { return symbols_; }
  // Lanes of the target where the symbol is kEscapedSymbol, in order.
  const std::string& escapes() const { return escapes_; }
  // Leaves in `out` what decoding gives, as many bytes as the target, and keeps its
  // memory for the next chunk.
  void TakeReconstructed(std::string& out) { reconstructed_.swap(out); }

 private:
  template <class Lanes>
  void FitPoints(absl::string_view target, absl::string_view parent);
  // Fills reconstructed_ and escapes_; fits the gain.
  double GainOfSample(DType dtype, absl::string_view target, absl::string_view parent);
  void Reconstruct(DType dtype, absl::string_view target, absl::string_view parent);
  void GatherEscapes(size_t lane_bytes, absl::string_view target);

  kernels::Reconstruction reconstruction_;
  kernels::TrellisScratch scratch_;
  std::vector<uint8_t> symbols_;
  std::vector<uint8_t> magnitudes_;
  std::string escapes_;
  std::string reconstructed_;
};

}  // namespace wdelta

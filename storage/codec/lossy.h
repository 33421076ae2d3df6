// Lossy deltas: what may be asked for, what is planned for each tensor, and the
// measuring that both rest on.
//
// The caller (engine) works on tensors chunk by chunk: it gathers DeltaMoments of
// every lossy tensor, hands them to LossyPlanner, measures what the plan would do
// (MeasureLossy) until the planner is content, then encodes (ChunkCodec::EncodeLossy).
// Deltas are taken against the parent as it is served, so that errors never add up
// along a chain.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/tensor/dtype.h"

namespace wdelta {

// Values are part of stored records: only ever added, never renumbered.
enum class Strategy : uint8_t {
  kLossless = 0,
  kNearLossless = 1,  // uniform quantiser with entropy coding
  kSparse = 2,        // the largest deltas, the rest dropped
  kOneBit = 3,        // sign and a scale a row
  kAuto = 4,          // the cheapest that meets the error target, lossless included
};

enum class Effort : uint8_t { kFast = 0, kMax = 1 };

// What is asked for one tensor. Zero: not given.
struct TensorPolicy {
  Strategy strategy = Strategy::kLossless;
  // Near-lossless, auto: |error| / |delta| of all tensors together. From 1 on the parent's
  // weights will do.
  double relative_error = 0;
  double bits_per_weight = 0;  // near-lossless, instead of relative_error
  double sparsity = 0;         // sparse: share of deltas that are dropped, [0, 1)
};

// Sums over a part of a tensor; those of the parts add up to those of the tensor.
struct DeltaMoments {
  uint64_t weights = 0;
  uint64_t changed = 0;  // deltas that are not zero
  double squared_delta = 0;
  double absolute_delta = 0;
  double squared_target = 0;
  double max_absolute_delta = 0;
  bool finite = true;  // false: holds a NaN or an infinity, and stays lossless

  void Add(const DeltaMoments& other);
};

// True for the dtypes that lossy strategies work on: F16, BF16, F32, F64.
bool CanBeLossy(DType dtype);

// Moments of a chunk. `parent` holds the same number of bytes. INVALID_ARGUMENT for
// another dtype or size.
absl::StatusOr<DeltaMoments> MeasureDelta(DType dtype, absl::string_view target,
                                          absl::string_view parent);

// The plan of one tensor: all that the chunks' encoder must know.
struct LossyParams {
  Strategy strategy = Strategy::kLossless;  // never kAuto
  double step = 0;                          // near-lossless: of the trellis, half the
                                            // distance of the points of one quantiser
  double gain = 1;                          // one-bit: of the scales (the quantiser fits its own)
  double threshold = 0;                     // sparse: least magnitude that is kept
  Effort effort = Effort::kFast;
};

// What a plan does to a part of a tensor, errors taken after rounding to the dtype.
struct LossyOutcome {
  uint64_t weights = 0;
  double squared_error = 0;
  double squared_delta = 0;
  double delta_dot_output = 0;  // sum of delta * reconstructed delta
  uint64_t altered = 0;         // reconstructed deltas that are not zero
  double max_absolute_error = 0;
  double bits = 0;  // of the payload

  void Add(const LossyOutcome& other);
  double RelativeError() const;  // sqrt(squared_error / squared_delta); 0 without delta
};

// Encodes a chunk and drops the payload; INVALID_ARGUMENT as of MeasureDelta. Callers that
// have a ChunkCodec save its setting up by calling EncodeLossy themselves.
absl::StatusOr<LossyOutcome> MeasureLossy(DType dtype, absl::string_view target,
                                          absl::string_view parent, const LossyParams& params);
struct ChunkGeometry;
absl::StatusOr<LossyOutcome> MeasureLossy(DType dtype, const ChunkGeometry& geometry,
                                          absl::string_view target, absl::string_view parent,
                                          const LossyParams& params);

struct LossyTensor {
  DType dtype = DType::kBF16;
  TensorPolicy policy;
  DeltaMoments moments;
  double lossless_bits = 0;  // what a sample of chunks says lossless coding would take
  double fineness = 1;       // near-lossless: the step is divided by it
};

inline constexpr int kMaxPlanRounds = 8;

// Decides the parameters of all lossy tensors of a model together: allocation of the
// error across tensors, then rate control in a few rounds of measuring. Tensors that
// ask for the same error (or bits) share it; lossless ones among them leave their part
// to the others. One thread at a time.
//
// Steps go with the square root of the tensor's delta scale, between equal relative
// errors (the scale itself) and least total error (one step for all), and with the
// tensor's fineness. kAuto is planned
// as near-lossless or lossless: at equal error the quantiser's dead zone takes fewer
// bits than kept lanes or signs do.
class LossyPlanner {
 public:
  // Tensors that are not finite, or unchanged, come out as lossless.
  LossyPlanner(std::vector<LossyTensor> tensors, Effort effort);
  ~LossyPlanner();
  LossyPlanner(LossyPlanner&&) noexcept;
  LossyPlanner& operator=(LossyPlanner&&) noexcept;

  const std::vector<LossyParams>& params() const;

  // Takes what params() would do, by tensor (lossless ones: weights, no error). True:
  // params() has changed, measure again. Ends after at most kMaxPlanRounds rounds
  // with a plan whose measured error meets the target, lossless where none was found.
  // INVALID_ARGUMENT unless there is an outcome a tensor.
  absl::StatusOr<bool> Refine(const std::vector<LossyOutcome>& outcomes);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wdelta

// What a model would take that may be stored with loss, against one parent or another.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/thread_pool.h"
#include "storage/codec/lossy.h"
#include "storage/engine/encoding/chunk_input.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// Whether loss is bounded by relative errors only, so that what is lost does not depend on
// the storage parent, and the one that takes the fewest bits will do.
bool IsBoundedByError(const store::v1::FidelityPolicy& policy);

// How far a sampled chunk is from one parent.
struct SampledDelta {
  double relative_error = 0;  // that its tensor may have, of the delta that is meant
  DeltaMoments moments;
};

// By chunk of `sample`; nullopt for one that is to stay as it is, or has no like in the
// parent. `input.advance` is called often.
absl::StatusOr<std::vector<std::optional<SampledDelta>>> SampleDeltas(
    const DeltaEncoderInput& input, const store::v1::FidelityPolicy& policy,
    const std::vector<WeightedChunk>& sample, ThreadPool* pool);

// Payload bytes of the whole model. Errors are relative to `meant`, the deltas to the
// declared parent; `coded` are those to the parent it would be stored against, and
// `lossless_bytes` what each chunk takes without loss. All by chunk of `sample`. Of a
// Gaussian source, R(D) = log2(sigma^2 / D) / 2, one D for all tensors with one bound.
double EstimateLossyBytes(const std::vector<WeightedChunk>& sample,
                          const std::vector<std::optional<SampledDelta>>& meant,
                          const std::vector<std::optional<SampledDelta>>& coded,
                          const std::vector<double>& lossless_bytes);

}  // namespace wdelta

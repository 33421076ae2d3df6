// What a FetchTensors call asks for, checked and opened.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/model_store.h"
#include "storage/tensor/slice_rules.h"
#include "wdelta/v1/fetch.pb.h"

namespace wdelta {

// An error ends the work.
using CheckAlive = std::function<absl::Status()>;

// Tensors of one model.
struct OpenSelection {
  static constexpr uint32_t kWhole = UINT32_MAX;
  struct Tensor {
    uint32_t stream = 0;
    uint32_t rule = kWhole;  // that it is cut by, in `rules`; rather than its slice, for memory
  };

  std::string model;  // `id:ID`
  ContentSourcePtr source;
  std::vector<Tensor> tensors;  // in order; not empty
  std::vector<SliceRule> rules;

  const TensorInfo& TensorAt(size_t index) const {
    return source->checkpoint().streams[tensors[index].stream].tensor;
  }
  // Nullopt: all of the tensor. Does not fail: OpenSelections has tried. Matches no patterns.
  std::optional<TensorSlice> SliceAt(size_t index) const;
  uint64_t SentBytesAt(size_t index) const;
};

// The selections of a request, in order. Blocks on storage; the work is at most
// kMaxPatternBytesOfFetch times the names of the tensors. INVALID_ARGUMENT (`BAD_PATTERN`,
// `BAD_SLICE`, `UNEVEN_SHARD`, `SLICE_SPLITS_BYTE`, `TOO_MANY_SELECTIONS`), OUT_OF_RANGE
// (`SLICE_PAST_END`), NOT_FOUND (`NO_TENSOR_MATCHES`), and those of resolving and opening a
// model.
absl::StatusOr<std::vector<OpenSelection>> OpenSelections(ModelStore& store,
                                                          const v1::FetchTensorsRequest& request,
                                                          const CheckAlive& check_alive);

}  // namespace wdelta

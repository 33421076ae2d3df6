// What differs between two models: tensor by tensor, file by file, summed up by layer.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/compare/difference.h"
#include "storage/engine/content/content_source.h"
#include "storage/tensor/tensor_info.h"

namespace wdelta {

enum class DiffKind { kUnchanged, kChanged, kOnlyInA, kOnlyInB, kDTypeChanged, kShapeChanged };

struct TensorDiff {
  std::string name;
  DiffKind change = DiffKind::kUnchanged;
  // As each model has it; nullopt where it has none.
  std::optional<TensorInfo> a;
  std::optional<TensorInfo> b;
  // Of changed and unchanged tensors. An unchanged one has its weights counted, and no norm.
  Difference difference;
};

// Files other than safetensors, which are told apart by their digests.
struct FileDiff {
  std::string path;
  DiffKind change = DiffKind::kUnchanged;  // never kDTypeChanged, kShapeChanged
  uint64_t size_bytes_a = 0;
  uint64_t size_bytes_b = 0;
};

// Of several tensors. Norms are those of the changed ones.
struct DiffSummary {
  uint64_t tensors_unchanged = 0;
  uint64_t tensors_changed = 0;
  uint64_t tensors_only_in_a = 0;
  uint64_t tensors_only_in_b = 0;
  uint64_t tensors_retyped = 0;   // another dtype
  uint64_t tensors_reshaped = 0;  // the same dtype, another shape
  Difference difference;

  void Add(const TensorDiff& tensor);
};

// A tensor's name up to and with its first part that is a number:
// `model.layers.3` of `model.layers.3.mlp.up.weight`. Without one, up to its last dot.
std::string LayerOf(absl::string_view tensor_name);

std::vector<FileDiff> DiffFiles(const Checkpoint& a, const Checkpoint& b);

struct DiffInput {
  ContentSourcePtr a;
  ContentSourcePtr b;
  // Asked often; its error ends the work.
  std::function<absl::Status()> alive;
};

// Gives the tensors of both models to `take`, in the caller's thread, in order of name.
// Where a name is in several shards, the first meets the first, and so on.
//
// Tensors whose SHA-256 is stored and equal are not decoded, and a chunk that is stored as
// the same as the other model's is decoded once. At most two results a thread are in
// memory, each of a few numbers; a thread holds two chunks. Must not be called from a
// thread of `pool`. Errors: those of reading (DATA_LOSS), of `alive` and of `take`.
absl::Status DiffTensors(const DiffInput& input, ThreadPool* pool,
                         const std::function<absl::Status(const TensorDiff&)>& take);

}  // namespace wdelta

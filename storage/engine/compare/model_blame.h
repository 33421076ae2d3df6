// Where the tensors of a model come from: for each the ancestor in which it last changed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/models/models.h"
#include "storage/tensor/tensor_info.h"

namespace wdelta {

// A model that the tensors of another come from.
struct BlameOrigin {
  std::string model_id;
  std::string name;
  uint64_t tensor_count = 0;
  uint64_t size_bytes = 0;
};

// A declared parent that could not be asked for its tensors.
struct LostParent {
  enum class Reason { kDeleted, kNotReady, kTooManyAncestors };
  std::string model_id;
  std::string name;  // as its child knows it
  Reason reason = Reason::kDeleted;
};

struct TensorBlame {
  TensorInfo tensor;  // as the model has it that was asked about
  // The oldest model on its trail; index in ModelBlame::origins.
  size_t origin = 0;
  // Its name there, where that is another one.
  std::string name_there;
  // Set where the tensor may be older than its origin; index in ModelBlame::lost_parents.
  std::optional<size_t> lost_parent;
};

struct ModelBlame {
  std::vector<TensorBlame> tensors;  // in order of name
  std::vector<BlameOrigin> origins;  // those with the most bytes first
  std::vector<LostParent> lost_parents;
};

// Follows every tensor of a READY model from child to declared parent for as long as a
// parent has it: the first that has one of equal name, dtype, shape and SHA-256, otherwise
// the first in which exactly one tensor of another name has them. Contents are compared by
// the digests that are stored with READY models; no weight is read. The trail leads through a
// deleted parent to the parents that it had: a tensor that one of them has came from there.
//
// Every ancestor on a trail is opened once for each of its children there, at most
// kMaxBlamedAncestors, and as many deleted ones are passed; the list of tensors of one of them is
// in memory at a time. `alive` is asked for each; its error ends the work. FAILED_PRECONDITION
// (`MODEL_NOT_READY`), DATA_LOSS.
absl::StatusOr<ModelBlame> BlameTensors(Models& models, Reader& reader, const Model& model,
                                        const std::function<absl::Status()>& alive);

}  // namespace wdelta

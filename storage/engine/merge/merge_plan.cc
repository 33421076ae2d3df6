#include "storage/engine/merge/merge_plan.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/element_values.h"

namespace wdelta {
namespace {

using StreamsByName = absl::flat_hash_map<absl::string_view, uint32_t>;

absl::Status Mismatch(const MergeModel& model, absl::string_view tensor, absl::string_view expected,
                      absl::string_view found) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "TENSOR_MISMATCH",
                   absl::StrCat("model '", model.name, "': tensor '", tensor, "': expected ",
                                expected, ", found ", found),
                   {{"model", model.name}, {"tensor", std::string(tensor)}});
}

std::string ShapeText(const TensorInfo& tensor) {
  return absl::StrCat(DTypeName(tensor.dtype), " [", absl::StrJoin(tensor.shape, ","), "]");
}

absl::StatusOr<StreamsByName> TensorsOf(const MergeModel& model) {
  const std::vector<StreamInfo>& streams = model.source->checkpoint().streams;
  StreamsByName by_name;
  for (uint32_t i = 0; i < streams.size(); ++i) {
    if (streams[i].kind != StreamKind::kTensor) continue;
    const std::string& name = streams[i].tensor.name;
    if (!by_name.emplace(name, i).second) {
      return Mismatch(model, name, "one tensor of this name", "several");
    }
  }
  return by_name;
}

// Has numbers that are counts, flags or codes: nothing to take the mean of.
bool IsInteger(DType dtype) { return dtype >= DType::kBool && dtype <= DType::kI64; }

class Planner {
 public:
  explicit Planner(const std::vector<MergeModel>& models) : models_(models) {}

  absl::StatusOr<MergePlan> Run() {
    MergePlan plan;
    const std::vector<StreamInfo>& pattern = Pattern();
    plan.streams.resize(pattern.size());
    // Streams by model, for every tensor of the pattern.
    std::vector<std::vector<uint32_t>> matches(pattern.size());
    for (size_t m = 0; m < models_.size(); ++m) WDELTA_RETURN_IF_ERROR(Match(m, matches));
    for (uint32_t i = 0; i < pattern.size(); ++i) {
      if (pattern[i].kind != StreamKind::kTensor) continue;
      const TensorInfo& tensor = pattern[i].tensor;
      const size_t other = FirstOther(matches[i]);
      if (other == models_.size()) continue;  // equal in all
      if (IsRounded(tensor.dtype)) {
        plan.streams[i] = std::move(matches[i]);
      } else if (!IsInteger(tensor.dtype) && AreKnown(other)) {
        return Mismatch(models_[other], tensor.name,
                        absl::StrCat("the bytes of '", models_[0].name, "', as ",
                                     DTypeName(tensor.dtype), " cannot be merged"),
                        "others");
      }
    }
    return plan;
  }

 private:
  const std::vector<StreamInfo>& Pattern() const { return models_[0].source->checkpoint().streams; }
  bool AreKnown(size_t model) const {
    return !models_[0].stream_digests.empty() && !models_[model].stream_digests.empty();
  }

  absl::Status Match(size_t m, std::vector<std::vector<uint32_t>>& matches) const {
    const MergeModel& model = models_[m];
    const std::vector<StreamInfo>& pattern = Pattern();
    WDELTA_ASSIGN_OR_RETURN(StreamsByName tensors, TensorsOf(model));
    for (uint32_t i = 0; i < pattern.size(); ++i) {
      if (pattern[i].kind != StreamKind::kTensor) continue;
      const TensorInfo& expected = pattern[i].tensor;
      const auto found = tensors.find(expected.name);
      if (found == tensors.end()) {
        return Mismatch(model, expected.name, ShapeText(expected), "none");
      }
      const TensorInfo& tensor = model.source->checkpoint().streams[found->second].tensor;
      if (tensor.dtype != expected.dtype || tensor.shape != expected.shape) {
        return Mismatch(model, expected.name, ShapeText(expected), ShapeText(tensor));
      }
      matches[i].push_back(found->second);
      tensors.erase(found);
    }
    if (tensors.empty()) return absl::OkStatus();
    // The same one whatever the order of the map.
    const auto extra = std::min_element(
        tensors.begin(), tensors.end(),
        [](const auto& left, const auto& right) { return left.first < right.first; });
    const TensorInfo& tensor = model.source->checkpoint().streams[extra->second].tensor;
    return Mismatch(model, tensor.name, absl::StrCat("none, as in '", models_[0].name, "'"),
                    ShapeText(tensor));
  }

  // The first model whose bytes of a tensor differ from the pattern's, or are not known.
  size_t FirstOther(const std::vector<uint32_t>& streams) const {
    for (size_t m = 1; m < models_.size(); ++m) {
      if (!AreKnown(m)) return m;
      if (models_[m].stream_digests[streams[m]] != models_[0].stream_digests[streams[0]]) return m;
    }
    return models_.size();
  }

  const std::vector<MergeModel>& models_;
};

}  // namespace

absl::StatusOr<MergePlan> PlanMerge(const std::vector<MergeModel>& models) {
  return Planner(models).Run();
}

}  // namespace wdelta

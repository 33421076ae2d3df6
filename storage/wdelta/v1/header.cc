// The JSON header of a version 1 file, event by event.
#include <limits>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/json_text.h"
#include "storage/tensor/tensor_info.h"
#include "storage/wdelta/v1/format.h"

namespace wdelta::v1_format {
namespace {

// What is known of a tensor before its object ends: members come in any order.
struct RawTensor {
  std::string name;
  std::optional<V1Strategy> strategy;
  std::optional<std::vector<uint64_t>> shape;
  bool has_dtype = false;
  std::optional<uint64_t> n_elements, n_outliers, n_cols;
  absl::flat_hash_set<std::string> arrays;
};

bool IsArrayName(absl::string_view name) {
  for (const V1Strategy strategy :
       {V1Strategy::kSparse, V1Strategy::kQuantized, V1Strategy::kInt4}) {
    for (const ArraySpec& spec : ArraysOf(strategy)) {
      if (spec.name == name) return true;
    }
  }
  return false;
}

bool IsMemberOfFile(absl::string_view key) { return key == "parent_hash" || key == "strategy"; }

bool IsCount(absl::string_view key) {
  return key == "n_elements" || key == "n_outliers" || key == "n_cols";
}

bool IsMemberOfTensor(absl::string_view key) {
  return key == "strategy" || key == "shape" || key == "dtype" || IsCount(key) || IsArrayName(key);
}

class HeaderVisitor final : public JsonVisitor {
 public:
  absl::Status OnStartObject() override {
    if (places_.empty()) return Enter(Place::kFile);
    switch (places_.back()) {
      case Place::kFile:
        if (IsMemberOfFile(key_)) return Bad("a string", "an object");
        if (key_ != "tensors") return Enter(Place::kSkipped);
        has_tensors_ = true;
        return Enter(Place::kTensors);
      case Place::kTensors:
        tensor_ = RawTensor();
        tensor_.name = key_;
        return Enter(Place::kTensor);
      case Place::kTensor:
        if (IsArrayName(key_)) return Enter(Place::kReference);
        if (IsMemberOfTensor(key_)) return Bad("a string, number or array", "an object");
        return Enter(Place::kSkipped);
      case Place::kShape:
        return Bad("unsigned integers", "an object");
      case Place::kReference:
      case Place::kSkipped:
        break;
    }
    return Enter(Place::kSkipped);
  }

  absl::Status OnStartArray() override {
    if (places_.empty()) return Bad("an object", "an array");
    switch (places_.back()) {
      case Place::kFile:
        if (IsMemberOfFile(key_) || key_ == "tensors") return Bad("a string or object", "an array");
        break;
      case Place::kTensors:
        return Bad("an object", "an array");
      case Place::kTensor:
        if (key_ == "shape") {
          tensor_.shape.emplace();
          return Enter(Place::kShape);
        }
        if (IsMemberOfTensor(key_)) return Bad("a string, number or object", "an array");
        break;
      case Place::kShape:
        return Bad("unsigned integers", "an array");
      case Place::kReference:
      case Place::kSkipped:
        break;
    }
    return Enter(Place::kSkipped);
  }

  absl::Status OnKey(std::string key) override {
    if (places_.back() == Place::kReference) {
      reference_key_ = std::move(key);
      return absl::OkStatus();
    }
    if (places_.back() == Place::kSkipped) return absl::OkStatus();
    key_ = std::move(key);
    if (places_.back() == Place::kTensors) return CheckName();
    const bool matters = places_.back() == Place::kFile ? IsMemberOfFile(key_) || key_ == "tensors"
                                                        : IsMemberOfTensor(key_);
    auto& seen = places_.back() == Place::kFile ? file_keys_ : tensor_keys_;
    if (matters && !seen.insert(key_).second) return Bad("it once", "it twice");
    return absl::OkStatus();
  }

  absl::Status OnScalar(JsonScalar scalar) override {
    if (places_.empty()) return Bad("an object", Excerpt(scalar.text));
    switch (places_.back()) {
      case Place::kFile:
        return TakeFileMember(scalar);
      case Place::kTensors:
        return Bad("an object", Excerpt(scalar.text));
      case Place::kTensor:
        return TakeTensorMember(scalar);
      case Place::kShape:
        if (scalar.kind != JsonScalar::Kind::kUnsigned) {
          return Bad("unsigned integers", Excerpt(scalar.text));
        }
        if (tensor_.shape->size() == limits::kMaxTensorDimensions) {
          return Bad(absl::StrCat("at most ", limits::kMaxTensorDimensions, " dimensions"), "more");
        }
        tensor_.shape->push_back(scalar.number);
        return absl::OkStatus();
      case Place::kReference:
        if (reference_key_ != "_ref") return absl::OkStatus();
        if (scalar.kind != JsonScalar::Kind::kString || scalar.text != key_) {
          return Bad(absl::StrCat("`_ref` of `", key_, "`"), Excerpt(scalar.text));
        }
        tensor_.arrays.insert(key_);
        return absl::OkStatus();
      case Place::kSkipped:
        break;
    }
    return absl::OkStatus();
  }

  absl::Status OnEndObject() override {
    const Place ended = places_.back();
    places_.pop_back();
    if (ended == Place::kReference && !tensor_.arrays.contains(key_)) return Bad("`_ref`", "none");
    if (ended != Place::kTensor) return absl::OkStatus();
    return EndTensor();
  }

  absl::Status OnEndArray() override {
    places_.pop_back();
    return absl::OkStatus();
  }

  absl::StatusOr<V1File> Finish() && {
    key_.clear();
    if (!file_keys_.contains("parent_hash")) return Bad("`parent_hash`", "none");
    if (!file_keys_.contains("strategy")) return Bad("`strategy`", "none");
    if (!has_tensors_) return Bad("`tensors`", "none");
    return std::move(file_);
  }

 private:
  enum class Place { kFile, kTensors, kTensor, kShape, kReference, kSkipped };

  absl::Status Enter(Place place) {
    if (place == Place::kTensor) tensor_keys_.clear();
    places_.push_back(place);
    return absl::OkStatus();
  }

  absl::Status Bad(absl::string_view expected, absl::string_view found) const {
    std::string field = "header";
    const bool in_tensor =
        places_.size() > 2 && places_[1] == Place::kTensors && places_[2] == Place::kTensor;
    if (in_tensor) absl::StrAppend(&field, ": tensor ", Excerpt(tensor_.name));
    if (!key_.empty()) absl::StrAppend(&field, ": ", Excerpt(key_));
    return BadField(field, expected, found);
  }

  absl::Status CheckName() {
    if (key_.size() > limits::kMaxTensorNameBytes) {
      return Bad(absl::StrCat("at most ", limits::kMaxTensorNameBytes, " bytes"),
                 absl::StrCat(key_.size()));
    }
    if (file_.tensors.size() == limits::kMaxTensorsPerFile) {
      return Bad(absl::StrCat("at most ", limits::kMaxTensorsPerFile, " tensors"), "more");
    }
    if (!names_.insert(key_).second) return Bad("the tensor once", "it twice");
    return absl::OkStatus();
  }

  absl::Status TakeFileMember(const JsonScalar& scalar) {
    if (key_ == "tensors") return Bad("an object", Excerpt(scalar.text));
    if (!IsMemberOfFile(key_)) return absl::OkStatus();
    if (scalar.kind != JsonScalar::Kind::kString) return Bad("a string", Excerpt(scalar.text));
    if (key_ == "strategy") return TakeStrategy(scalar, file_.strategy);
    const absl::StatusOr<Digest> hash = Digest::FromHex(scalar.text);
    if (!hash.ok()) return Bad("64 lower-case hex digits", Excerpt(scalar.text));
    file_.parent_hash = *hash;
    return absl::OkStatus();
  }

  absl::Status TakeStrategy(const JsonScalar& scalar, V1Strategy& strategy) const {
    const absl::StatusOr<V1Strategy> parsed = ParseV1Strategy(scalar.text);
    if (!parsed.ok()) return Bad("int4, sparse or quantized", Excerpt(scalar.text));
    strategy = *parsed;
    return absl::OkStatus();
  }

  absl::Status TakeTensorMember(const JsonScalar& scalar) {
    if (!IsMemberOfTensor(key_)) return absl::OkStatus();
    if (IsCount(key_)) {
      if (scalar.kind != JsonScalar::Kind::kUnsigned) {
        return Bad("an unsigned integer", Excerpt(scalar.text));
      }
      auto& count = key_ == "n_elements"   ? tensor_.n_elements
                    : key_ == "n_outliers" ? tensor_.n_outliers
                                           : tensor_.n_cols;
      count = scalar.number;
      return absl::OkStatus();
    }
    if (key_ != "strategy" && key_ != "dtype") {
      return Bad("an array or object", Excerpt(scalar.text));
    }
    if (scalar.kind != JsonScalar::Kind::kString) return Bad("a string", Excerpt(scalar.text));
    if (key_ == "strategy") return TakeStrategy(scalar, tensor_.strategy.emplace());
    if (scalar.text != kDType) return Bad(kDType, Excerpt(scalar.text));
    tensor_.has_dtype = true;
    return absl::OkStatus();
  }

  // The rules that tie the members of a tensor to each other.
  absl::Status EndTensor() {
    const auto bad = [&](absl::string_view member, absl::string_view expected,
                         absl::string_view found) {
      return BadField(absl::StrCat("header: tensor ", Excerpt(tensor_.name), ": '", member, "'"),
                      expected, found);
    };
    const auto show = [](const std::optional<uint64_t>& count) {
      return count.has_value() ? absl::StrCat(*count) : std::string("none");
    };
    if (!tensor_.strategy.has_value()) return bad("strategy", "a string", "none");
    if (!tensor_.shape.has_value()) return bad("shape", "an array", "none");
    if (!tensor_.has_dtype) return bad("dtype", kDType, "none");
    for (const ArraySpec& spec : ArraysOf(*tensor_.strategy)) {
      if (!tensor_.arrays.contains(spec.name)) return bad(spec.name, "an object", "none");
    }
    V1Tensor tensor;
    tensor.name = tensor_.name;
    tensor.strategy = *tensor_.strategy;
    tensor.shape = *std::move(tensor_.shape);
    const absl::StatusOr<uint64_t> count = ElementCount(tensor.shape);
    constexpr uint64_t kMaxElements = limits::kMaxFileBytes / sizeof(float);
    if (!count.ok() || *count > kMaxElements) {
      return bad("shape", absl::StrCat("at most ", kMaxElements, " elements"),
                 count.ok() ? absl::StrCat(*count) : "more than 64 bits hold");
    }
    tensor.element_count = *count;
    if (tensor.strategy != V1Strategy::kSparse && tensor_.n_elements != *count) {
      return bad("n_elements", absl::StrCat(*count), show(tensor_.n_elements));
    }
    if (tensor.strategy == V1Strategy::kInt4) {
      if (tensor_.n_outliers.value_or(std::numeric_limits<uint64_t>::max()) > *count) {
        return bad("n_outliers", absl::StrCat("at most ", *count), show(tensor_.n_outliers));
      }
      tensor.outlier_count = *tensor_.n_outliers;
    }
    if (tensor.strategy == V1Strategy::kQuantized) {
      if (*count == 0) return bad("shape", "an element at least", "none");
      tensor.row_elements = tensor.shape.size() > 1 ? *count / tensor.shape[0] : *count;
      if (tensor_.n_cols != tensor.row_elements) {
        return bad("n_cols", absl::StrCat(tensor.row_elements), show(tensor_.n_cols));
      }
    }
    file_.tensors.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  std::vector<Place> places_;
  std::string key_;            // of the member being read, of the file or of a tensor
  std::string reference_key_;  // within the object of an array
  RawTensor tensor_;
  bool has_tensors_ = false;
  absl::flat_hash_set<std::string> names_, file_keys_, tensor_keys_;
  V1File file_;
};

}  // namespace

absl::StatusOr<V1File> ParseHeader(absl::string_view json) {
  HeaderVisitor visitor;
  const absl::Status visited = VisitJson(json, visitor);
  if (absl::IsInvalidArgument(visited)) {
    return MakeError(absl::StatusCode::kDataLoss, "BAD_WDELTA",
                     absl::StrCat("header: ", visited.message()));
  }
  WDELTA_RETURN_IF_ERROR(visited);
  return std::move(visitor).Finish();
}

}  // namespace wdelta::v1_format

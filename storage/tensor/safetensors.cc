#include "storage/tensor/safetensors.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/base/byte_reader.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/json_text.h"

namespace wdelta {
namespace {

constexpr uint64_t kLengthFieldBytes = 8;
constexpr uint64_t kHeaderAlignment = 8;
constexpr absl::string_view kReason = "BAD_SAFETENSORS";
constexpr absl::string_view kMetadataKey = "__metadata__";
constexpr absl::string_view kDTypeField = "dtype";
constexpr absl::string_view kShapeField = "shape";
constexpr absl::string_view kOffsetsField = "data_offsets";

absl::Status BadHeader(absl::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, kReason, message);
}

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

std::string TensorSubject(absl::string_view name) { return absl::StrCat("tensor ", Excerpt(name)); }

// Collects the tensors and metadata of a header. Types, fields and limits are
// checked here; keys given twice and offsets, once all tensors are known.
class HeaderVisitor final : public JsonVisitor {
 public:
  absl::Status OnStartObject() override;
  absl::Status OnKey(std::string key) override;
  absl::Status OnEndObject() override;
  absl::Status OnStartArray() override;
  absl::Status OnEndArray() override;
  absl::Status OnScalar(JsonScalar scalar) override;

  // Offsets count from the end of the header.
  std::vector<TensorInfo> TakeTensors() { return std::move(tensors_); }
  std::vector<std::pair<std::string, std::string>> TakeMetadata() { return std::move(metadata_); }

 private:
  enum class Place { kStart, kRoot, kMetadata, kTensor, kShape, kOffsets };

  absl::Status Unexpected(absl::string_view found) const;
  std::string Subject() const;
  absl::string_view Expectation() const;
  absl::Status OnTensorKey(const std::string& key);
  absl::Status OnNumber(uint64_t number);
  absl::Status FinishTensor();

  Place place_ = Place::kStart;
  bool has_metadata_ = false;
  std::string key_;    // last key of the root or of the metadata
  std::string field_;  // last key within a tensor
  // The tensor being read and which of its fields were seen.
  TensorInfo tensor_;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  bool has_offsets_ = false;
  std::vector<uint64_t> offsets_;
  std::vector<TensorInfo> tensors_;
  std::vector<std::pair<std::string, std::string>> metadata_;
};

std::string HeaderVisitor::Subject() const {
  switch (place_) {
    case Place::kStart:
      return "header";
    case Place::kRoot:
      return key_ == kMetadataKey ? std::string(kMetadataKey) : TensorSubject(key_);
    case Place::kMetadata:
      return absl::StrCat(kMetadataKey, ": ", Excerpt(key_));
    case Place::kTensor:
    case Place::kShape:
    case Place::kOffsets:
      break;
  }
  return absl::StrCat(TensorSubject(tensor_.name), ": ", field_);
}

absl::string_view HeaderVisitor::Expectation() const {
  switch (place_) {
    case Place::kStart:
    case Place::kRoot:
      return "an object";
    case Place::kMetadata:
      return "a string";
    case Place::kTensor:
      return field_ == kDTypeField ? "a string" : "an array";
    case Place::kShape:
    case Place::kOffsets:
      break;
  }
  return "unsigned 64-bit integers";
}

absl::Status HeaderVisitor::Unexpected(absl::string_view found) const {
  return Invalid(Subject(), ": expected ", Expectation(), ", found ", found);
}

absl::Status HeaderVisitor::OnStartObject() {
  if (place_ == Place::kStart) {
    place_ = Place::kRoot;
    return absl::OkStatus();
  }
  if (place_ != Place::kRoot) return Unexpected("an object");
  if (key_ == kMetadataKey) {
    if (has_metadata_) return Invalid(kMetadataKey, ": expected once, found twice");
    has_metadata_ = true;
    place_ = Place::kMetadata;
    return absl::OkStatus();
  }
  if (tensors_.size() >= limits::kMaxTensorsPerFile) {
    return Invalid("header: expected at most ", limits::kMaxTensorsPerFile, " tensors, found more");
  }
  place_ = Place::kTensor;
  tensor_ = TensorInfo{.name = std::move(key_)};
  has_dtype_ = has_shape_ = has_offsets_ = false;
  offsets_.clear();
  return absl::OkStatus();
}

absl::Status HeaderVisitor::OnKey(std::string key) {
  if (place_ == Place::kTensor) return OnTensorKey(key);
  if (place_ == Place::kRoot && key.size() > limits::kMaxTensorNameBytes) {
    return Invalid(TensorSubject(key), ": expected a name of at most ", limits::kMaxTensorNameBytes,
                   " bytes, found ", key.size());
  }
  if (place_ == Place::kMetadata && metadata_.size() >= limits::kMaxSafetensorsMetadataEntries) {
    return Invalid(kMetadataKey, ": expected at most ", limits::kMaxSafetensorsMetadataEntries,
                   " keys, found more");
  }
  key_ = std::move(key);
  return absl::OkStatus();
}

absl::Status HeaderVisitor::OnTensorKey(const std::string& key) {
  bool* seen = nullptr;
  if (key == kDTypeField) seen = &has_dtype_;
  if (key == kShapeField) seen = &has_shape_;
  if (key == kOffsetsField) seen = &has_offsets_;
  if (seen == nullptr) {
    return Invalid(TensorSubject(tensor_.name),
                   ": expected only dtype, shape and data_offsets, found ", Excerpt(key));
  }
  if (*seen) return Invalid(TensorSubject(tensor_.name), ": ", key, ": expected once, found twice");
  *seen = true;
  field_ = key;
  return absl::OkStatus();
}

absl::Status HeaderVisitor::OnEndObject() {
  if (place_ == Place::kTensor) WDELTA_RETURN_IF_ERROR(FinishTensor());
  place_ = Place::kRoot;
  return absl::OkStatus();
}

absl::Status HeaderVisitor::OnStartArray() {
  if (place_ != Place::kTensor || field_ == kDTypeField) return Unexpected("an array");
  place_ = field_ == kShapeField ? Place::kShape : Place::kOffsets;
  return absl::OkStatus();
}

absl::Status HeaderVisitor::OnEndArray() {
  if (place_ == Place::kOffsets && offsets_.size() != 2) {
    return Invalid(Subject(), ": expected 2 values, found ", offsets_.size());
  }
  place_ = Place::kTensor;
  return absl::OkStatus();
}

absl::Status HeaderVisitor::OnScalar(JsonScalar scalar) {
  if (scalar.kind == JsonScalar::Kind::kString) {
    if (place_ == Place::kMetadata) {
      metadata_.emplace_back(std::move(key_), std::move(scalar.text));
      return absl::OkStatus();
    }
    if (place_ == Place::kTensor && field_ == kDTypeField) {
      const absl::StatusOr<DType> dtype = ParseDType(scalar.text);
      if (!dtype.ok()) return Annotate(dtype.status(), TensorSubject(tensor_.name));
      tensor_.dtype = *dtype;
      return absl::OkStatus();
    }
    return Unexpected(absl::StrCat("the string ", Excerpt(scalar.text)));
  }
  if (scalar.kind == JsonScalar::Kind::kUnsigned) return OnNumber(scalar.number);
  return Unexpected(absl::string_view(scalar.text).substr(0, 80));
}

absl::Status HeaderVisitor::OnNumber(uint64_t number) {
  if (place_ == Place::kOffsets) {
    if (offsets_.size() == 2) return Invalid(Subject(), ": expected 2 values, found more");
    offsets_.push_back(number);
    return absl::OkStatus();
  }
  if (place_ != Place::kShape) return Unexpected(absl::StrCat(number));
  if (tensor_.shape.size() == limits::kMaxTensorDimensions) {
    return Invalid(Subject(), ": expected at most ", limits::kMaxTensorDimensions,
                   " dimensions, found more");
  }
  tensor_.shape.push_back(number);
  return absl::OkStatus();
}

absl::Status HeaderVisitor::FinishTensor() {
  const std::string subject = TensorSubject(tensor_.name);
  if (!has_dtype_) return Invalid(subject, ": dtype: expected one, found none");
  if (!has_shape_) return Invalid(subject, ": shape: expected one, found none");
  if (!has_offsets_) return Invalid(subject, ": data_offsets: expected them, found none");
  if (offsets_[0] > offsets_[1]) {
    return Invalid(subject, ": data_offsets: expected begin <= end, found [", offsets_[0], ",",
                   offsets_[1], "]");
  }
  const absl::StatusOr<uint64_t> expected_bytes = TensorBytes(tensor_.dtype, tensor_.shape);
  if (!expected_bytes.ok()) return Annotate(expected_bytes.status(), subject);
  tensor_.offset_bytes = offsets_[0];
  tensor_.size_bytes = offsets_[1] - offsets_[0];
  if (tensor_.size_bytes != *expected_bytes) {
    return Invalid(subject, ": data_offsets: expected ", *expected_bytes, " bytes for ",
                   DTypeName(tensor_.dtype), " [", absl::StrJoin(tensor_.shape, ","), "], found ",
                   tensor_.size_bytes);
  }
  tensors_.push_back(std::move(tensor_));
  return absl::OkStatus();
}

absl::Status CheckNamesDiffer(const std::vector<TensorInfo>& tensors) {
  std::vector<absl::string_view> names;
  names.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  const auto twin = std::adjacent_find(names.begin(), names.end());
  if (twin == names.end()) return absl::OkStatus();
  return Invalid(TensorSubject(*twin), ": expected once, found twice");
}

// Puts the tensors in order of offset and moves their offsets behind the header.
absl::Status PlaceTensors(uint64_t header_bytes, uint64_t file_bytes,
                          std::vector<TensorInfo>& tensors) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.offset_bytes, a.size_bytes, a.name) <
           std::tie(b.offset_bytes, b.size_bytes, b.name);
  });
  const uint64_t data_bytes = file_bytes - header_bytes;
  uint64_t position = 0;
  for (TensorInfo& tensor : tensors) {
    if (tensor.offset_bytes != position) {
      return Invalid(TensorSubject(tensor.name), ": data_offsets: expected to begin at ", position,
                     ", found ", tensor.offset_bytes,
                     tensor.offset_bytes < position ? " (overlap)" : " (hole)");
    }
    // Cannot overflow: the sum is the second of the data_offsets.
    position += tensor.size_bytes;
    if (position > data_bytes) {
      return Invalid(TensorSubject(tensor.name), ": data_offsets: expected an end of at most ",
                     data_bytes, ", found ", position);
    }
    tensor.offset_bytes += header_bytes;
  }
  if (position != data_bytes) {
    return Invalid("header: expected tensors of ", data_bytes,
                   " bytes, as the file has behind it, found ", position);
  }
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsLayout> ParseHeader(absl::string_view json, uint64_t file_bytes) {
  if (json.size() > limits::kMaxSafetensorsHeaderBytes) {
    return Invalid("header: expected at most ", limits::kMaxSafetensorsHeaderBytes,
                   " bytes, found ", json.size());
  }
  if (file_bytes < kLengthFieldBytes || json.size() > file_bytes - kLengthFieldBytes) {
    return Invalid("header: expected a file of at least ", kLengthFieldBytes + json.size(),
                   " bytes, found ", file_bytes);
  }
  if (json.empty()) return Invalid("header: expected '{', found an empty header");
  if (json[0] != '{') return Invalid("header: expected '{', found ", Excerpt(json.substr(0, 1)));
  HeaderVisitor visitor;
  WDELTA_RETURN_IF_ERROR(VisitJson(json, visitor));

  SafetensorsLayout layout;
  layout.header_bytes = kLengthFieldBytes + json.size();
  layout.tensors = visitor.TakeTensors();
  layout.metadata = visitor.TakeMetadata();
  std::sort(layout.metadata.begin(), layout.metadata.end());
  const auto twin =
      std::adjacent_find(layout.metadata.begin(), layout.metadata.end(),
                         [](const auto& a, const auto& b) { return a.first == b.first; });
  if (twin != layout.metadata.end()) {
    return Invalid(kMetadataKey, ": ", Excerpt(twin->first), ": expected once, found twice");
  }
  WDELTA_RETURN_IF_ERROR(CheckNamesDiffer(layout.tensors));
  WDELTA_RETURN_IF_ERROR(PlaceTensors(layout.header_bytes, file_bytes, layout.tensors));
  return layout;
}

absl::StatusOr<std::string> TensorEntry(const TensorInfo& tensor, uint64_t begin, uint64_t end) {
  WDELTA_ASSIGN_OR_RETURN(const std::string name, QuoteJson(tensor.name));
  return absl::StrCat(name, ":{\"dtype\":\"", DTypeName(tensor.dtype), "\",\"shape\":[",
                      absl::StrJoin(tensor.shape, ","), "],\"data_offsets\":[", begin, ",", end,
                      "]}");
}

absl::StatusOr<std::string> MetadataEntry(
    const std::vector<std::pair<std::string, std::string>>& metadata) {
  std::vector<std::string> pairs;
  for (const auto& [key, value] : metadata) {
    WDELTA_ASSIGN_OR_RETURN(const std::string quoted_key, QuoteJson(key));
    WDELTA_ASSIGN_OR_RETURN(const std::string quoted_value, QuoteJson(value));
    pairs.push_back(absl::StrCat(quoted_key, ":", quoted_value));
  }
  return absl::StrCat("\"", kMetadataKey, "\":{", absl::StrJoin(pairs, ","), "}");
}

absl::StatusOr<std::string> WriteHeader(
    const std::vector<TensorInfo>& tensors,
    const std::vector<std::pair<std::string, std::string>>& metadata) {
  std::vector<std::string> entries;
  if (!metadata.empty()) {
    WDELTA_ASSIGN_OR_RETURN(std::string entry, MetadataEntry(metadata));
    entries.push_back(std::move(entry));
  }
  uint64_t position = 0;
  for (const TensorInfo& tensor : tensors) {
    const absl::StatusOr<uint64_t> size_bytes = TensorBytes(tensor.dtype, tensor.shape);
    if (!size_bytes.ok()) return Annotate(size_bytes.status(), TensorSubject(tensor.name));
    uint64_t end = 0;
    if (__builtin_add_overflow(position, *size_bytes, &end) || end > limits::kMaxFileBytes) {
      return Invalid(TensorSubject(tensor.name), ": expected tensors of at most ",
                     limits::kMaxFileBytes, " bytes, found more");
    }
    WDELTA_ASSIGN_OR_RETURN(std::string entry, TensorEntry(tensor, position, end));
    entries.push_back(std::move(entry));
    position = end;
  }
  std::string json = absl::StrCat("{", absl::StrJoin(entries, ","), "}");
  json.resize((json.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  // What is written here can be read: limits and names given twice are found so.
  WDELTA_RETURN_IF_ERROR(ParseHeader(json, kLengthFieldBytes + json.size() + position).status());
  std::string header;
  AppendU64(header, json.size());
  return header + json;
}

}  // namespace

absl::StatusOr<SafetensorsLayout> ParseSafetensorsHeader(absl::string_view json,
                                                         uint64_t file_bytes) {
  absl::StatusOr<SafetensorsLayout> layout = ParseHeader(json, file_bytes);
  if (!layout.ok()) return BadHeader(layout.status().message());
  return layout;
}

absl::StatusOr<SafetensorsLayout> ReadSafetensorsLayout(const RandomAccessFile& file) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t file_bytes, file.SizeBytes());
  if (file_bytes < kLengthFieldBytes) {
    return BadHeader(
        absl::StrCat("header length: expected ", kLengthFieldBytes, " bytes, found ", file_bytes));
  }
  std::string length_field(kLengthFieldBytes, '\0');
  WDELTA_RETURN_IF_ERROR(file.Read(0, length_field.data(), length_field.size()));
  WDELTA_ASSIGN_OR_RETURN(const uint64_t json_bytes,
                          ByteReader(length_field).ReadU64("header length"));
  const uint64_t max_bytes =
      std::min(limits::kMaxSafetensorsHeaderBytes, file_bytes - kLengthFieldBytes);
  if (json_bytes > max_bytes) {
    return BadHeader(absl::StrCat("header length: expected at most ", max_bytes, " in a file of ",
                                  file_bytes, " bytes, found ", json_bytes));
  }
  std::string json(json_bytes, '\0');
  WDELTA_RETURN_IF_ERROR(file.Read(kLengthFieldBytes, json.data(), json.size()));
  return ParseSafetensorsHeader(json, file_bytes);
}

absl::StatusOr<std::string> WriteSafetensorsHeader(
    const std::vector<TensorInfo>& tensors,
    const std::vector<std::pair<std::string, std::string>>& metadata) {
  absl::StatusOr<std::string> header = WriteHeader(tensors, metadata);
  if (!header.ok()) return BadHeader(header.status().message());
  return header;
}

}  // namespace wdelta

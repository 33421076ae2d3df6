#include "storage/engine/content/v1_source.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/json_text.h"
#include "storage/tensor/safetensors.h"
#include "storage/wdelta/v1/float_values.h"

namespace wdelta {
namespace {

constexpr char kFileName[] = "model.safetensors";
constexpr uint64_t kElementsAtOnce = 64 * 1024;

class V1Source final : public ContentSource {
 public:
  V1Source(std::shared_ptr<const V1Reader> reader, V1Layout layout, ContentSourcePtr parent,
           std::vector<uint32_t> parent_streams)
      : reader_(std::move(reader)),
        layout_(std::move(layout)),
        parent_(std::move(parent)),
        parent_streams_(std::move(parent_streams)) {}

  const Checkpoint& checkpoint() const override { return layout_.checkpoint; }

  absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                    char* destination) const override {
    if (stream == 0) {
      std::memcpy(destination, layout_.header.data() + offset, size);
      return absl::OkStatus();
    }
    std::vector<float> values;
    while (size > 0) {
      const uint64_t first = offset / sizeof(float);
      const uint64_t end = (offset + size + sizeof(float) - 1) / sizeof(float);
      values.resize(std::min(end - first, kElementsAtOnce));
      WDELTA_RETURN_IF_ERROR(Compute(stream - 1, first, absl::MakeSpan(values)));
      const size_t skip = offset % sizeof(float);
      const size_t part = std::min(size, values.size() * sizeof(float) - skip);
      std::memcpy(destination, reinterpret_cast<const char*>(values.data()) + skip, part);
      destination += part;
      offset += part;
      size -= part;
    }
    return absl::OkStatus();
  }

  std::optional<Digest> StreamDigest(uint32_t) const override { return std::nullopt; }

 private:
  absl::Status Compute(uint32_t tensor, uint64_t first, absl::Span<float> values) const {
    const uint32_t stream = parent_streams_[tensor];
    const DType dtype = parent_->checkpoint().streams[stream].tensor.dtype;
    const uint64_t element_bytes = BitsPerElement(dtype) / 8;
    std::string stored(values.size() * element_bytes, '\0');
    WDELTA_RETURN_IF_ERROR(
        parent_->Read(stream, first * element_bytes, stored.size(), stored.data()));
    WDELTA_RETURN_IF_ERROR(WidenToFloat32(dtype, stored, values));
    return reader_->AddDelta(tensor, first, values);
  }

  const std::shared_ptr<const V1Reader> reader_;
  const V1Layout layout_;
  const ContentSourcePtr parent_;
  const std::vector<uint32_t> parent_streams_;
};

absl::Status WrongParent(const V1Tensor& tensor, absl::string_view found) {
  return MakeError(
      absl::StatusCode::kFailedPrecondition, "WRONG_PARENT",
      absl::StrCat("tensor ", Excerpt(tensor.name), ": expected in the parent, shape [",
                   absl::StrJoin(tensor.shape, ","), "], found ", found),
      {{"tensor", tensor.name}});
}

}  // namespace

absl::StatusOr<V1Layout> LayoutOfV1(const V1File& file) {
  std::vector<TensorInfo> tensors;
  tensors.reserve(file.tensors.size());
  uint64_t tensor_bytes = 0;
  for (const V1Tensor& tensor : file.tensors) {
    tensors.push_back({tensor.name, DType::kF32, tensor.shape, 0, 0});
    tensor_bytes += tensor.element_count * sizeof(float);
    if (tensor_bytes > limits::kMaxFileBytes) {
      return MakeError(
          absl::StatusCode::kInvalidArgument, "FILE_TOO_LARGE",
          absl::StrCat("the model: expected at most ", limits::kMaxFileBytes, " bytes"));
    }
  }
  V1Layout out;
  WDELTA_ASSIGN_OR_RETURN(out.header, WriteSafetensorsHeader(tensors, {{"format", "pt"}}));
  constexpr size_t kLengthFieldBytes = 8;
  const uint64_t file_bytes = out.header.size() + tensor_bytes;
  WDELTA_ASSIGN_OR_RETURN(
      const SafetensorsLayout layout,
      ParseSafetensorsHeader(absl::string_view(out.header).substr(kLengthFieldBytes), file_bytes));
  out.checkpoint.files.push_back({kFileName, file_bytes, {}, true});
  AppendStreams(0, file_bytes, &layout, out.checkpoint.streams);
  return out;
}

absl::StatusOr<std::vector<uint32_t>> FindV1Tensors(const V1File& file, const Checkpoint& parent) {
  absl::flat_hash_map<absl::string_view, uint32_t> streams;
  for (uint32_t i = 0; i < parent.streams.size(); ++i) {
    const StreamInfo& stream = parent.streams[i];
    if (stream.kind != StreamKind::kTensor) continue;
    if (parent.files[stream.file_index].path.find('/') != std::string::npos) continue;
    streams[stream.tensor.name] = i;
  }
  std::vector<uint32_t> found;
  found.reserve(file.tensors.size());
  for (const V1Tensor& tensor : file.tensors) {
    const auto match = streams.find(tensor.name);
    if (match == streams.end()) return WrongParent(tensor, "none");
    const TensorInfo& info = parent.streams[match->second].tensor;
    if (info.shape != tensor.shape) {
      return WrongParent(tensor, absl::StrCat("[", absl::StrJoin(info.shape, ","), "]"));
    }
    if (!HasFloat32Values(info.dtype)) return WrongParent(tensor, DTypeName(info.dtype));
    found.push_back(match->second);
  }
  return found;
}

ContentSourcePtr NewV1Source(std::shared_ptr<const V1Reader> reader, V1Layout layout,
                             ContentSourcePtr parent, std::vector<uint32_t> parent_streams,
                             const Digest& sha256) {
  layout.checkpoint.files[0].sha256 = sha256;
  return std::make_shared<const V1Source>(std::move(reader), std::move(layout), std::move(parent),
                                          std::move(parent_streams));
}

}  // namespace wdelta

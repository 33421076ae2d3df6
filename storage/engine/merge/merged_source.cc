#include "storage/engine/merge/merged_source.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/element_values.h"

namespace wdelta {
namespace {

constexpr size_t kNumbersAtOnce = 1024;

class MergedSource final : public ContentSource {
 public:
  MergedSource(std::shared_ptr<const MergeInputs> inputs, MergedDigests digests)
      : inputs_(std::move(inputs)),
        checkpoint_(Pattern().checkpoint()),
        stream_digests_(std::move(digests.streams)) {
    for (size_t i = 0; i < checkpoint_.files.size(); ++i) {
      checkpoint_.files[i].sha256 = digests.files.empty() ? Digest() : digests.files[i];
    }
  }

  const Checkpoint& checkpoint() const override { return checkpoint_; }

  absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                    char* destination) const override {
    if (inputs_->plan.streams[stream].empty()) {
      return Pattern().Read(stream, offset, size, destination);
    }
    const uint64_t element_bytes = BytesPerNumber(checkpoint_.streams[stream].tensor.dtype);
    while (size > 0) {
      // Never across a chunk, so that each of them is decoded once. Chunks hold whole
      // elements.
      const uint64_t chunk_end = (offset / limits::kChunkBytes + 1) * limits::kChunkBytes;
      const uint64_t part = std::min<uint64_t>(size, chunk_end - offset);
      const uint64_t begin = offset / element_bytes * element_bytes;
      const uint64_t end = (offset + part + element_bytes - 1) / element_bytes * element_bytes;
      WDELTA_ASSIGN_OR_RETURN(const std::string bytes, Merge(stream, begin, end - begin));
      std::memcpy(destination, bytes.data() + (offset - begin), part);
      destination += part;
      offset += part;
      size -= part;
    }
    return absl::OkStatus();
  }

  std::optional<Digest> StreamDigest(uint32_t stream) const override {
    if (stream_digests_.empty()) return std::nullopt;
    return stream_digests_[stream];
  }

 private:
  const ContentSource& Pattern() const { return *inputs_->models[0].source; }

  absl::StatusOr<std::string> Merge(uint32_t stream, uint64_t offset, size_t size) const {
    const DType dtype = checkpoint_.streams[stream].tensor.dtype;
    const bool is_trimmed = inputs_->recipe.method() == store::v1::MergeRecipe::TIES;
    absl::Span<const uint32_t> least_keys;
    if (is_trimmed) least_keys = inputs_->least_keys[stream];
    std::string merged(size, '\0');
    std::array<double, kNumbersAtOnce> numbers;
    const auto take = [&](size_t at, absl::Span<const Numbers> models) -> absl::Status {
      const absl::Span<double> run(numbers.data(), models[0].size());
      MergeNumbers(inputs_->recipe, models, least_keys, run);
      WDELTA_ASSIGN_OR_RETURN(const std::string bytes,
                              WriteNumbers(dtype, absl::Span<const double>(run)));
      std::memcpy(merged.data() + at, bytes.data(), bytes.size());
      return absl::OkStatus();
    };
    WDELTA_RETURN_IF_ERROR(ReadNumbersOfModels(*inputs_, stream, offset, size, take));
    return merged;
  }

  const std::shared_ptr<const MergeInputs> inputs_;
  Checkpoint checkpoint_;
  const std::vector<Digest> stream_digests_;
};

}  // namespace

absl::Status ReadNumbersOfModels(
    const MergeInputs& inputs, uint32_t stream, uint64_t offset, size_t size,
    const std::function<absl::Status(size_t at, absl::Span<const Numbers>)>& take) {
  const std::vector<MergeModel>& models = inputs.models;
  const DType dtype = models[0].source->checkpoint().streams[stream].tensor.dtype;
  const size_t element_bytes = BytesPerNumber(dtype);
  std::vector<std::string> bytes(models.size(), std::string(size, '\0'));
  for (size_t m = 0; m < models.size(); ++m) {
    WDELTA_RETURN_IF_ERROR(
        models[m].source->Read(inputs.plan.streams[stream][m], offset, size, bytes[m].data()));
  }
  std::vector<double> numbers(models.size() * kNumbersAtOnce);
  std::vector<Numbers> runs(models.size());
  for (size_t at = 0; at < size; at += kNumbersAtOnce * element_bytes) {
    const size_t count = std::min(kNumbersAtOnce, (size - at) / element_bytes);
    for (size_t m = 0; m < models.size(); ++m) {
      const absl::Span<double> run(numbers.data() + m * kNumbersAtOnce, count);
      WDELTA_RETURN_IF_ERROR(
          ReadNumbers(dtype, absl::string_view(bytes[m]).substr(at, count * element_bytes), run));
      runs[m] = run;
    }
    WDELTA_RETURN_IF_ERROR(take(at, runs));
  }
  return absl::OkStatus();
}

ContentSourcePtr NewMergedSource(std::shared_ptr<const MergeInputs> inputs, MergedDigests digests) {
  return std::make_shared<const MergedSource>(std::move(inputs), std::move(digests));
}

}  // namespace wdelta

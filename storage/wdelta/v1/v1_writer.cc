#include "storage/wdelta/v1/v1_writer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/base/byte_reader.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/json_text.h"
#include "storage/tensor/tensor_info.h"
#include "storage/wdelta/v1/float_values.h"
#include "storage/wdelta/v1/format.h"
#include "storage/wdelta/v1/largest.h"

namespace wdelta {
namespace {

using v1_format::ForEachValue;

constexpr size_t kBufferBytes = 256 * limits::kKiB;
// A range of values below this is one value to the package's own writer as well.
constexpr float kLeastRange = 1e-8f;

uint64_t KeptCount(uint64_t element_count, double fraction) {
  const auto kept = static_cast<uint64_t>(static_cast<double>(element_count) * fraction);
  return std::min(element_count, std::max<uint64_t>(1, kept));
}

void AppendText(std::string& out, absl::string_view text) {
  AppendU32(out, static_cast<uint32_t>(text.size()));
  absl::StrAppend(&out, text);
}

// The shortest decimal that reads back as `value`.
std::string ShortestText(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

double Square(double value) { return value * value; }

}  // namespace

// Encodes one tensor; lives during AddTensor.
class V1Writer::TensorEncoder {
 public:
  TensorEncoder(V1Writer& writer, const V1Tensor& tensor, const V1Delta& delta)
      : writer_(writer), tensor_(tensor), delta_(delta) {}

  absl::Status Run(uint64_t kept) {
    WDELTA_RETURN_IF_ERROR(ForEachValue(delta_, [this](float value) {
      if (!std::isfinite(value)) return Unsupported("its delta is not finite");
      writer_.sums_.squares += Square(value);
      return absl::OkStatus();
    }));
    if (tensor_.strategy == V1Strategy::kQuantized) return WriteQuantized();
    WDELTA_ASSIGN_OR_RETURN(rule_, v1_format::FindLargest(delta_, kept));
    return tensor_.strategy == V1Strategy::kSparse ? WriteSparse(kept) : WriteInt4();
  }

 private:
  absl::Status Unsupported(absl::string_view what) const {
    return MakeError(absl::StatusCode::kInvalidArgument, "V1_UNSUPPORTED",
                     absl::StrCat("tensor ", Excerpt(tensor_.name), ": ", what),
                     {{"tensor", tensor_.name}});
  }

  absl::Status BeginArray(size_t place, uint64_t length) {
    const v1_format::ArraySpec& spec = v1_format::ArraysOf(tensor_.strategy)[place];
    AppendText(buffer_, tensor_.name);
    AppendText(buffer_, spec.name);
    AppendText(buffer_, spec.dtype);
    AppendU32(buffer_, 1);
    AppendU64(buffer_, length);
    AppendU64(buffer_, length * spec.element_bytes);
    return absl::OkStatus();
  }

  absl::Status FlushIfLarge() { return buffer_.size() < kBufferBytes ? absl::OkStatus() : Flush(); }

  absl::Status Flush() {
    WDELTA_RETURN_IF_ERROR(writer_.scratch_->Append(buffer_));
    writer_.scratch_bytes_ += buffer_.size();
    buffer_.clear();
    return absl::OkStatus();
  }

  void Lose(double error) { writer_.sums_.error_squares += Square(error); }

  absl::StatusOr<uint16_t> ToFloat16(float value) const {
    const uint16_t bits = Float32ToFloat16(value);
    if (std::isfinite(Float16ToFloat32(bits))) return bits;
    return Unsupported(absl::StrCat("a delta of ", value, " is beyond float16"));
  }

  void AppendF16(uint16_t bits) {
    buffer_.push_back(static_cast<char>(bits));
    buffer_.push_back(static_cast<char>(bits >> 8));
  }

  // Calls `take(element, value, is_kept)` for every element.
  template <typename Take>
  absl::Status ForEachPicked(Take take) {
    v1_format::LargestPicker picker(rule_);
    uint64_t element = 0;
    return ForEachValue(delta_, [&](float value) -> absl::Status {
      WDELTA_RETURN_IF_ERROR(take(element++, value, picker.Take(value)));
      return FlushIfLarge();
    });
  }

  absl::Status WriteIndices(size_t place, uint64_t kept) {
    WDELTA_RETURN_IF_ERROR(BeginArray(place, kept));
    return ForEachPicked([&](uint64_t element, float, bool is_kept) {
      if (is_kept) AppendU64(buffer_, element);
      return absl::OkStatus();
    });
  }

  absl::Status WriteSparse(uint64_t kept) {
    WDELTA_RETURN_IF_ERROR(WriteIndices(v1_format::kIndices, kept));
    WDELTA_RETURN_IF_ERROR(BeginArray(v1_format::kValues, kept));
    WDELTA_RETURN_IF_ERROR(ForEachPicked([&](uint64_t, float value, bool is_kept) {
      if (is_kept) {
        buffer_.append(reinterpret_cast<const char*>(&value), sizeof value);
      } else {
        Lose(value);
      }
      return absl::OkStatus();
    }));
    return Flush();
  }

  absl::Status WriteQuantized() {
    const uint64_t rows = tensor_.element_count / tensor_.row_elements;
    WDELTA_RETURN_IF_ERROR(BeginArray(v1_format::kScales, rows));
    double magnitudes = 0;
    double squares = 0;
    uint64_t in_row = 0;
    WDELTA_RETURN_IF_ERROR(ForEachValue(delta_, [&](float value) -> absl::Status {
      magnitudes += std::fabs(value);
      squares += Square(value);
      if (++in_row < tensor_.row_elements) return absl::OkStatus();
      const double count = static_cast<double>(in_row);
      WDELTA_ASSIGN_OR_RETURN(const uint16_t bits,
                              ToFloat16(static_cast<float>(magnitudes / count)));
      AppendF16(bits);
      const double scale = Float16ToFloat32(bits);
      writer_.sums_.error_squares +=
          std::max(0.0, squares - 2 * scale * magnitudes + count * Square(scale));
      magnitudes = squares = 0;
      in_row = 0;
      return FlushIfLarge();
    }));
    WDELTA_RETURN_IF_ERROR(BeginArray(v1_format::kPackedSigns,
                                      v1_format::ExpectedLength(tensor_, v1_format::kPackedSigns)));
    uint8_t byte = 0;
    int bits = 0;
    WDELTA_RETURN_IF_ERROR(ForEachValue(delta_, [&](float value) -> absl::Status {
      byte = static_cast<uint8_t>(byte << 1 | (value < 0 ? 0 : 1));
      if (++bits < 8) return absl::OkStatus();
      buffer_.push_back(static_cast<char>(byte));
      bits = 0;
      return FlushIfLarge();
    }));
    if (bits > 0) buffer_.push_back(static_cast<char>(byte << (8 - bits)));
    return Flush();
  }

  absl::Status WriteInt4() {
    WDELTA_RETURN_IF_ERROR(WriteIndices(v1_format::kOutlierIndices, tensor_.outlier_count));
    float least = std::numeric_limits<float>::infinity();
    float most = -least;
    WDELTA_RETURN_IF_ERROR(BeginArray(v1_format::kOutlierValues, tensor_.outlier_count));
    WDELTA_RETURN_IF_ERROR(ForEachPicked([&](uint64_t, float value, bool is_kept) -> absl::Status {
      if (!is_kept) {
        least = std::min(least, value);
        most = std::max(most, value);
        return absl::OkStatus();
      }
      WDELTA_ASSIGN_OR_RETURN(const uint16_t bits, ToFloat16(value));
      AppendF16(bits);
      Lose(static_cast<double>(value) - Float16ToFloat32(bits));
      return absl::OkStatus();
    }));
    if (least > most) least = most = 0;  // there are outliers only
    const bool is_flat = most - least < kLeastRange;
    WDELTA_ASSIGN_OR_RETURN(const uint16_t scale,
                            ToFloat16(is_flat ? 1.0f : (most - least) / 15.0f));
    WDELTA_ASSIGN_OR_RETURN(const uint16_t zero_point, ToFloat16(least));
    WDELTA_RETURN_IF_ERROR(BeginArray(v1_format::kScale, 1));
    AppendF16(scale);
    WDELTA_RETURN_IF_ERROR(BeginArray(v1_format::kZeroPoint, 1));
    AppendF16(zero_point);
    return WritePacked(is_flat ? 0 : Float16ToFloat32(scale), Float16ToFloat32(zero_point));
  }

  // With a step of 0 every number is 0.
  absl::Status WritePacked(float step, float zero_point) {
    WDELTA_RETURN_IF_ERROR(
        BeginArray(v1_format::kPacked, v1_format::ExpectedLength(tensor_, v1_format::kPacked)));
    std::optional<int> high_half;
    WDELTA_RETURN_IF_ERROR(ForEachPicked([&](uint64_t, float value, bool is_kept) {
      if (is_kept) return absl::OkStatus();
      int number = 0;
      if (step > 0) {
        const float steps = std::nearbyint((value - zero_point) / step);
        number = static_cast<int>(std::clamp(steps, 0.0f, 15.0f));
      }
      Lose(static_cast<double>(value) - (static_cast<double>(step) * number + zero_point));
      if (high_half.has_value()) buffer_.push_back(static_cast<char>(*high_half << 4 | number));
      high_half = high_half.has_value() ? std::nullopt : std::optional<int>(number);
      return absl::OkStatus();
    }));
    if (high_half.has_value()) buffer_.push_back(static_cast<char>(*high_half << 4));
    return Flush();
  }

  V1Writer& writer_;
  const V1Tensor& tensor_;
  const V1Delta& delta_;
  v1_format::LargestRule rule_;
  std::string buffer_;
};

absl::StatusOr<V1Writer> V1Writer::Create(const V1WriterOptions& options, FileSystem* files,
                                          const std::string& scratch_path) {
  for (const auto& [name, fraction] : {std::pair("sparsity", options.sparsity),
                                       std::pair("outlier_fraction", options.outlier_fraction)}) {
    if (fraction >= 0 && fraction < 1) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": expected 0 to below 1, found ", fraction));
  }
  WDELTA_ASSIGN_OR_RETURN(auto scratch, files->OpenForAppend(scratch_path, 0));
  return V1Writer(options, files, scratch_path, std::move(scratch));
}

absl::Status V1Writer::AddTensor(absl::string_view name, const std::vector<uint64_t>& shape,
                                 const V1Delta& delta) {
  V1Tensor tensor;
  tensor.name = std::string(name);
  tensor.strategy = options_.strategy;
  tensor.shape = shape;
  WDELTA_ASSIGN_OR_RETURN(tensor.element_count, ElementCount(shape));
  if (tensor.element_count != delta.element_count()) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", Excerpt(name), ": expected ",
                                                   tensor.element_count, " elements, found ",
                                                   delta.element_count()));
  }
  const uint64_t n = tensor.element_count;
  uint64_t kept = 0;
  WDELTA_ASSIGN_OR_RETURN(const std::string quoted, QuoteJson(name));
  std::string entry =
      absl::StrCat(quoted, R"(:{"strategy":")", V1StrategyName(tensor.strategy), R"(","shape":[)",
                   absl::StrJoin(shape, ","), R"(],"dtype":")", v1_format::kDType, "\"");
  switch (tensor.strategy) {
    case V1Strategy::kSparse:
      kept = KeptCount(n, 1.0 - options_.sparsity);
      absl::StrAppend(&entry, ",\"sparsity\":", ShortestText(options_.sparsity));
      break;
    case V1Strategy::kQuantized:
      if (n == 0) {
        return MakeError(absl::StatusCode::kInvalidArgument, "V1_UNSUPPORTED",
                         absl::StrCat("tensor ", Excerpt(name), ": has no elements"));
      }
      tensor.row_elements = shape.size() > 1 ? n / shape[0] : n;
      absl::StrAppend(&entry, ",\"n_elements\":", n, ",\"n_cols\":", tensor.row_elements);
      break;
    case V1Strategy::kInt4:
      kept = tensor.outlier_count = KeptCount(n, options_.outlier_fraction);
      absl::StrAppend(&entry, ",\"outlier_fraction\":", ShortestText(options_.outlier_fraction),
                      ",\"n_elements\":", n, ",\"n_outliers\":", kept);
      break;
  }
  for (const v1_format::ArraySpec& spec : v1_format::ArraysOf(tensor.strategy)) {
    absl::StrAppend(&entry, ",\"", spec.name, R"(":{"_ref":")", spec.name, "\"}");
  }
  entries_.push_back(entry + "}");
  element_count_ += n;
  return TensorEncoder(*this, tensor, delta).Run(kept);
}

std::string V1Writer::Header(const Digest& parent_hash) const {
  return absl::StrCat(R"({"parent_hash":")", parent_hash.ToHex(), R"(","strategy":")",
                      V1StrategyName(options_.strategy), R"(","tensors":{)",
                      absl::StrJoin(entries_, ","), "}}");
}

absl::StatusOr<V1WriterResult> V1Writer::Finish(const Digest& parent_hash, Sink sink) {
  Sha256Hasher hasher;
  V1WriterResult result;
  const auto emit = [&](absl::string_view bytes) {
    hasher.Update(bytes);
    result.file_bytes += bytes.size();
    return sink(bytes);
  };
  const std::string header = Header(parent_hash);
  if (header.size() > limits::kMaxSafetensorsHeaderBytes) {
    return MakeError(absl::StatusCode::kResourceExhausted, "WDELTA_TOO_LARGE",
                     absl::StrCat("header: expected at most ", limits::kMaxSafetensorsHeaderBytes,
                                  " bytes, found ", header.size()));
  }
  std::string preamble(v1_format::kMagic);
  AppendU32(preamble, kV1Version);
  AppendU32(preamble, static_cast<uint32_t>(header.size()));
  WDELTA_RETURN_IF_ERROR(emit(preamble));
  WDELTA_RETURN_IF_ERROR(emit(header));
  scratch_.reset();
  WDELTA_ASSIGN_OR_RETURN(const auto arrays, files_->OpenForRead(scratch_path_));
  std::string buffer;
  for (uint64_t offset = 0; offset < scratch_bytes_; offset += buffer.size()) {
    buffer.resize(std::min<uint64_t>(kBufferBytes, scratch_bytes_ - offset));
    WDELTA_RETURN_IF_ERROR(arrays->Read(offset, buffer.data(), buffer.size()));
    WDELTA_RETURN_IF_ERROR(emit(buffer));
  }
  WDELTA_RETURN_IF_ERROR(emit(hasher.Current().ToBytes()));
  result.tensor_count = entries_.size();
  result.element_count = element_count_;
  if (sums_.squares > 0) result.relative_error = std::sqrt(sums_.error_squares / sums_.squares);
  return result;
}

}  // namespace wdelta

#include "tests/bench/checkpoint_pair.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/safetensors.h"

namespace wdelta::bench {
namespace {

template <class T>
T BitsAt(absl::string_view bytes, size_t index) {
  T bits;
  std::memcpy(&bits, bytes.data() + index * sizeof(T), sizeof(T));
  return bits;
}

float FloatOfBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

float FloatOfHalf(uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int mantissa = half & 1023;
  const float sign = (half >> 15) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
}

uint16_t BFloat16Of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

uint16_t HalfOf(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7E00);
  if (magnitude >= 65520.0f) return static_cast<uint16_t>(sign | 0x7C00);
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  // A multiple of the unit in the last place, denormals included; nearbyint rounds to
  // even, and a carry runs into the exponent as it should.
  const int unit = std::max(exponent - 11, -24);
  const auto units = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, -unit)));
  return static_cast<uint16_t>(sign + (static_cast<uint32_t>(unit + 24) << 10) + units);
}

std::string LastFolder(absl::string_view path) {
  while (absl::EndsWith(path, "/")) path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  return std::string(slash == absl::string_view::npos ? path : path.substr(slash + 1));
}

}  // namespace

absl::StatusOr<TensorsByName> LoadTensors(const std::string& folder) {
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> names, files->List(folder));
  TensorsByName tensors;
  for (const std::string& name : names) {
    if (!absl::EndsWith(name, ".safetensors")) continue;
    WDELTA_ASSIGN_OR_RETURN(const auto file, files->OpenForRead(absl::StrCat(folder, "/", name)));
    WDELTA_ASSIGN_OR_RETURN(const SafetensorsLayout layout, ReadSafetensorsLayout(*file));
    for (const TensorInfo& tensor : layout.tensors) {
      std::string bytes(tensor.size_bytes, '\0');
      WDELTA_RETURN_IF_ERROR(file->Read(tensor.offset_bytes, bytes.data(), bytes.size()));
      tensors[tensor.name] = {tensor, std::move(bytes)};
    }
  }
  if (tensors.empty()) return absl::NotFoundError(absl::StrCat(folder, ": no tensors"));
  return tensors;
}

absl::StatusOr<std::vector<float>> ToFloats(DType dtype, absl::string_view bytes) {
  std::vector<float> values(bytes.size() * 8 / BitsPerElement(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    switch (dtype) {
      case DType::kBF16:
        values[i] = FloatOfBits(uint32_t{BitsAt<uint16_t>(bytes, i)} << 16);
        break;
      case DType::kF16:
        values[i] = FloatOfHalf(BitsAt<uint16_t>(bytes, i));
        break;
      case DType::kF32:
        values[i] = FloatOfBits(BitsAt<uint32_t>(bytes, i));
        break;
      default:
        return absl::InvalidArgumentError(
            absl::StrCat("expected BF16, F16 or F32, found ", DTypeName(dtype)));
    }
  }
  return values;
}

absl::StatusOr<std::string> FromFloats(DType dtype, const std::vector<float>& values) {
  if (dtype == DType::kF32) {
    return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  }
  if (dtype != DType::kBF16 && dtype != DType::kF16) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected BF16, F16 or F32, found ", DTypeName(dtype)));
  }
  std::string bytes(values.size() * 2, '\0');
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = dtype == DType::kBF16 ? BFloat16Of(values[i]) : HalfOf(values[i]);
    std::memcpy(bytes.data() + 2 * i, &bits, sizeof(bits));
  }
  return bytes;
}

absl::StatusOr<CheckpointPair> LoadPair(const std::string& parent_folder,
                                        const std::string& target_folder) {
  WDELTA_ASSIGN_OR_RETURN(TensorsByName parents, LoadTensors(parent_folder));
  WDELTA_ASSIGN_OR_RETURN(TensorsByName targets, LoadTensors(target_folder));
  CheckpointPair pair;
  pair.label = absl::StrCat(LastFolder(target_folder), " on ", LastFolder(parent_folder));
  pair.parent_folder = parent_folder;
  pair.target_folder = target_folder;
  for (auto& [name, target] : targets) {
    if (target.bytes.empty()) continue;
    WDELTA_ASSIGN_OR_RETURN(const uint64_t elements, ElementCount(target.info.shape));
    TensorPair tensor{name, target.info.dtype, elements, 0, std::move(target.bytes), ""};
    if (target.info.shape.size() >= 2) tensor.row_weights = target.info.shape.back();
    const auto parent = parents.find(name);
    if (parent != parents.end() && parent->second.info.dtype == tensor.dtype &&
        parent->second.info.shape == target.info.shape) {
      tensor.parent = std::move(parent->second.bytes);
    }
    pair.elements += tensor.elements;
    pair.bytes += tensor.target.size();
    pair.tensors.push_back(std::move(tensor));
  }
  return pair;
}

std::string DescribePair(const CheckpointPair& pair) {
  std::set<std::string> dtypes;
  uint64_t unchanged = 0;
  for (const TensorPair& tensor : pair.tensors) {
    dtypes.emplace(DTypeName(tensor.dtype));
    const size_t width = tensor.target.size() / tensor.elements;
    if (tensor.parent.empty() || width == 0) continue;
    for (size_t at = 0; at < tensor.target.size(); at += width) {
      unchanged += std::memcmp(&tensor.target[at], &tensor.parent[at], width) == 0;
    }
  }
  return absl::StrFormat(
      "%d tensors, %s, %.2f million weights, %.1f MB, %.1f%% unchanged", pair.tensors.size(),
      absl::StrJoin(dtypes, "+"), static_cast<double>(pair.elements) / 1e6,
      static_cast<double>(pair.bytes) / 1e6,
      100.0 * static_cast<double>(unchanged) / static_cast<double>(pair.elements));
}

}  // namespace wdelta::bench

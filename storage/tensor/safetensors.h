// The safetensors format: 8 bytes of little-endian header length, a JSON header,
// then the tensors' bytes back to back.
// Source: https://github.com/huggingface/safetensors (README, "Format").
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/file_system.h"
#include "storage/tensor/tensor_info.h"

namespace wdelta {

struct SafetensorsLayout {
  // Length field, JSON and padding: everything before the first tensor.
  uint64_t header_bytes = 0;
  // In order of offset; they fill [header_bytes, file size) without hole or
  // overlap. Zero-size tensors keep their place by offset, then by name.
  std::vector<TensorInfo> tensors;
  // `__metadata__`, in order of key.
  std::vector<std::pair<std::string, std::string>> metadata;
};

// Parses the JSON part of a header, `json`, of a file of `file_bytes` bytes.
// INVALID_ARGUMENT (reason `BAD_SAFETENSORS`) names the tensor or field, what was
// expected and what was found: not UTF-8, not an object, a key given twice, an
// unknown dtype, a shape whose product overflows, offsets that overlap, leave a
// hole, or do not match dtype and shape, or more than limits.h allows.
absl::StatusOr<SafetensorsLayout> ParseSafetensorsHeader(absl::string_view json,
                                                         uint64_t file_bytes);

// Reads and parses the header of `file`; memory is bounded by the header cap.
// Errors: as above (also: length field beyond the file or the cap), or the file's.
absl::StatusOr<SafetensorsLayout> ReadSafetensorsLayout(const RandomAccessFile& file);

// A header (length field, JSON, padded with spaces to 8 bytes) for tensors to be
// laid out in the given order; `offset_bytes` and `size_bytes` of the input are
// ignored. INVALID_ARGUMENT as TensorBytes.
absl::StatusOr<std::string> WriteSafetensorsHeader(
    const std::vector<TensorInfo>& tensors,
    const std::vector<std::pair<std::string, std::string>>& metadata);

}  // namespace wdelta

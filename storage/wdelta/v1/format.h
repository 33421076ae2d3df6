// Constants of `.wdelta` version 1, as FORMAT_V1.md gives them. Private to the room.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/wdelta/v1/v1_file.h"

namespace wdelta::v1_format {

inline constexpr absl::string_view kMagic("wdelta\0", 7);
inline constexpr size_t kPreambleBytes = 15;  // magic, version, header size
inline constexpr size_t kChecksumBytes = 32;
inline constexpr absl::string_view kDType = "float32";

// Places of arrays in V1Tensor::arrays.
inline constexpr size_t kIndices = 0;
inline constexpr size_t kValues = 1;
inline constexpr size_t kScales = 0;
inline constexpr size_t kPackedSigns = 1;
inline constexpr size_t kOutlierIndices = 0;
inline constexpr size_t kOutlierValues = 1;
inline constexpr size_t kScale = 2;
inline constexpr size_t kZeroPoint = 3;
inline constexpr size_t kPacked = 4;

struct ArraySpec {
  absl::string_view name;
  absl::string_view dtype;
  uint64_t element_bytes;
};
absl::Span<const ArraySpec> ArraysOf(V1Strategy strategy);

// Elements that array `index` of `tensor` must have. Of the arrays of sparse:
// element_count, the most they may have.
uint64_t ExpectedLength(const V1Tensor& tensor, size_t index);

// DATA_LOSS with reason `BAD_WDELTA`: "FIELD: expected EXPECTED, found FOUND".
absl::Status BadField(absl::string_view field, absl::string_view expected, absl::string_view found);

// Parses the JSON header. Names, shapes and counts are checked against each other;
// arrays and file_bytes stay empty.
absl::StatusOr<V1File> ParseHeader(absl::string_view json);

}  // namespace wdelta::v1_format

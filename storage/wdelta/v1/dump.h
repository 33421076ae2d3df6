// What a version 1 file says of itself, for people and for programs. Needs no
// parent. No state: any thread may call it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "storage/wdelta/v1/v1_reader.h"

namespace wdelta {

// Header fields, a table of tensors (strategy, shape, outliers or kept elements,
// float32 and stored bytes, ratio) and totals.
std::string DumpV1Text(const V1Reader& reader);

// The same as one JSON object; names are stable. INTERNAL when JSON cannot be made.
absl::StatusOr<std::string> DumpV1Json(const V1Reader& reader);

}  // namespace wdelta

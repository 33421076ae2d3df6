// Slow decoders of the class modes and of the sparse mode, written straight from
// FORMAT.md ("Classes", "Sparse"): one lane at a time, in 64 bits. They share no code
// with the codec. No state: any thread may call them.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/codec/codec.h"

namespace wdelta::reference {

// The whole lanes of a payload of mode 6, 7 or 9 without its tail; `parent` is not used in mode
// 7. DATA_LOSS for what the format refuses.
absl::StatusOr<std::string> DecodeClasses(LaneFormat format, ChunkMode mode,
                                          absl::string_view payload, absl::string_view parent,
                                          size_t lanes);
absl::StatusOr<std::string> DecodeSparse(LaneFormat format, absl::string_view payload,
                                         absl::string_view parent, size_t lanes);

}  // namespace wdelta::reference

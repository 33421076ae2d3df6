// A slow decoder of chunk payloads, written straight from FORMAT.md: one lane and
// one byte at a time. It shares no code with the codec but the mode numbers and
// zstd, and is there to check it. No state: any thread may call it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/codec/codec.h"

namespace wdelta {

// As ChunkCodec::Decode; DATA_LOSS for whatever payload that refuses.
absl::StatusOr<std::string> ReferenceDecode(LaneFormat format, ChunkMode mode,
                                            absl::string_view payload,
                                            std::optional<absl::string_view> parent, size_t size);

}  // namespace wdelta

// Slow decoders of the lossy modes, written straight from FORMAT.md ("Lossy payloads",
// "Quantised", "One-bit"): one lane at a time, numbers taken apart by frexp. They share
// no code with the codec. No state: any thread may call them.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta::reference {

// `parent` is as long as what is decoded. DATA_LOSS for what the format refuses.
absl::StatusOr<std::string> DecodeQuantised(int lane_bytes, absl::string_view payload,
                                            absl::string_view parent);
absl::StatusOr<std::string> DecodeOneBit(int lane_bytes, absl::string_view payload,
                                         absl::string_view parent);

}  // namespace wdelta::reference

// Fast checksums against accident (not against malice: that is storage/base/digest.h).
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace wdelta {

// CRC-32C (Castagnoli, RFC 3720 appendix B.4): pieces on the wire, encoded chunks.
uint32_t Crc32c(absl::string_view data);
// CRC-32C of the bytes behind `crc` followed by `data`; start with 0.
uint32_t ExtendCrc32c(uint32_t crc, absl::string_view data);

// XXH3-64 with seed 0: decoded chunks.
uint64_t Xxh3(absl::string_view data);

}  // namespace wdelta

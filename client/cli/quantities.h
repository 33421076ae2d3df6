// Sizes and times as people write them. Pure functions; INVALID_ARGUMENT names the text
// and says what was expected.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace wdelta {

// `1000`, `64KiB`, `1.5GiB`, `20GB`: bytes, with units of 1024 or of 1000 up to EiB and EB;
// less than 2^64.
absl::StatusOr<uint64_t> ParseByteSize(absl::string_view text);

// `2026-01-31`, `2026-01-31T12:30:00` (both in `zone`), `2026-01-31T12:30:00Z`, or how
// long before `now`: `90s`, `30m`, `12h`, `7d`.
absl::StatusOr<absl::Time> ParseTime(absl::string_view text, absl::Time now, absl::TimeZone zone);

}  // namespace wdelta

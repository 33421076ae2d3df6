// Figures and words as people read them. Pure functions.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cpp/progress.h"
#include "google/protobuf/timestamp.pb.h"

namespace wdelta {

// `0 B`, `1023 B`, `1.0 KiB`, `12.5 GiB`.
std::string HumanBytes(uint64_t bytes);
// Raw over stored, `3.21x`; `-` while nothing is stored.
std::string HumanRatio(uint64_t raw_bytes, uint64_t stored_bytes);
// `1.24M`, `7.62B`: counts of parameters.
std::string HumanCount(uint64_t count);
// `2026-01-31 12:34`; empty for an unset time.
std::string HumanTime(const google::protobuf::Timestamp& time, absl::TimeZone zone);
// Likewise, `2026-01-31 12:34:56`.
std::string HumanTimeWithSeconds(const google::protobuf::Timestamp& time, absl::TimeZone zone);
// `0:07`, `1:02:03`.
std::string HumanDuration(absl::Duration duration);
// The last digits of an id: the first ones are time and alike.
std::string ShortId(absl::string_view id);
// Control characters become `?`: what a server says cannot move the cursor.
std::string Printable(absl::string_view text);

// `[#####.....]  50%  1.0 GiB / 2.0 GiB  512.0 MiB/s  ETA 0:02`
std::string ProgressLine(const Progress& progress, absl::Duration elapsed);

}  // namespace wdelta

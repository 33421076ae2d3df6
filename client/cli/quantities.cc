#include "client/cli/quantities.h"

#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace wdelta {
namespace {

constexpr double kMaxBytes = 1.8e19;  // below 2^64

}  // namespace

absl::StatusOr<uint64_t> ParseByteSize(absl::string_view text) {
  constexpr std::array<std::pair<absl::string_view, double>, 11> kUnits = {{{"KiB", 0x1p10},
                                                                            {"MiB", 0x1p20},
                                                                            {"GiB", 0x1p30},
                                                                            {"TiB", 0x1p40},
                                                                            {"PiB", 0x1p50},
                                                                            {"KB", 1e3},
                                                                            {"MB", 1e6},
                                                                            {"GB", 1e9},
                                                                            {"TB", 1e12},
                                                                            {"PB", 1e15},
                                                                            {"B", 1}}};
  absl::string_view number = text;
  double unit = 1;
  for (const auto& [suffix, bytes] : kUnits) {
    if (!absl::ConsumeSuffix(&number, suffix)) continue;
    unit = bytes;
    break;
  }
  uint64_t bytes = 0;
  if (unit == 1 && absl::SimpleAtoi(number, &bytes)) return bytes;
  double value = 0;
  if (!absl::SimpleAtod(number, &value) || !std::isfinite(value) || value < 0 ||
      value * unit > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("size `", text, "`: expected a number of bytes such as 1000, 64KiB or 20GB"));
  }
  return static_cast<uint64_t>(std::llround(value * unit));
}

absl::StatusOr<absl::Time> ParseTime(absl::string_view text, absl::Time now, absl::TimeZone zone) {
  const std::string whole(text);
  absl::Time time;
  std::string error;
  for (const char* format : {"%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%E*S"}) {
    if (absl::ParseTime(format, whole, zone, &time, &error)) return time;
  }
  if (absl::ParseTime(absl::RFC3339_full, whole, &time, &error)) return time;
  constexpr std::array<std::pair<char, int64_t>, 4> kUnits = {
      {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}}};
  for (const auto& [unit, seconds] : kUnits) {
    uint32_t count = 0;
    if (text.empty() || text.back() != unit) continue;
    if (absl::SimpleAtoi(text.substr(0, text.size() - 1), &count)) {
      return now - absl::Seconds(count * seconds);
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "time `", text, "`: expected 2026-01-31, 2026-01-31T12:30:00Z or an age such as 12h or 7d"));
}

}  // namespace wdelta

#include "client/cli/quantities.h"

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace wdelta {
namespace {

struct Unit {
  absl::string_view suffix;
  uint64_t bytes;
};

constexpr uint64_t kBinary = 1024;
constexpr uint64_t kDecimal = 1000;

constexpr uint64_t Power(uint64_t base, int exponent) {
  return exponent == 0 ? 1 : base * Power(base, exponent - 1);
}

constexpr std::array<Unit, 13> kUnits = {{{"KiB", Power(kBinary, 1)},
                                          {"MiB", Power(kBinary, 2)},
                                          {"GiB", Power(kBinary, 3)},
                                          {"TiB", Power(kBinary, 4)},
                                          {"PiB", Power(kBinary, 5)},
                                          {"EiB", Power(kBinary, 6)},
                                          {"KB", Power(kDecimal, 1)},
                                          {"MB", Power(kDecimal, 2)},
                                          {"GB", Power(kDecimal, 3)},
                                          {"TB", Power(kDecimal, 4)},
                                          {"PB", Power(kDecimal, 5)},
                                          {"EB", Power(kDecimal, 6)},
                                          {"B", 1}}};

}  // namespace

absl::StatusOr<uint64_t> ParseByteSize(absl::string_view text) {
  absl::string_view number = text;
  uint64_t unit = 1;
  for (const Unit& known : kUnits) {
    if (!absl::ConsumeSuffix(&number, known.suffix)) continue;
    unit = known.bytes;
    break;
  }
  const auto too_large = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat("size `", text, "`: expected less than 16EiB (2^64 bytes)"));
  };
  uint64_t count = 0;
  if (absl::SimpleAtoi(number, &count)) {
    if (count > std::numeric_limits<uint64_t>::max() / unit) return too_large();
    return count * unit;
  }
  double value = 0;
  if (!absl::SimpleAtod(number, &value) || !std::isfinite(value) || value < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("size `", text, "`: expected a number of bytes such as 1000, 64KiB or 20GB"));
  }
  const double bytes = std::round(value * static_cast<double>(unit));
  if (bytes >= 0x1p64) return too_large();
  return static_cast<uint64_t>(bytes);
}

absl::StatusOr<absl::Time> ParseTime(absl::string_view text, absl::Time now, absl::TimeZone zone) {
  const std::string whole(text);
  absl::Time time;
  std::string error;
  for (const char* format : {"%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%E*S"}) {
    if (absl::ParseTime(format, whole, zone, &time, &error)) return time;
  }
  if (absl::ParseTime(absl::RFC3339_full, whole, &time, &error)) return time;
  constexpr std::array<std::pair<char, int64_t>, 4> kTimeUnits = {
      {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}}};
  for (const auto& [unit, seconds] : kTimeUnits) {
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

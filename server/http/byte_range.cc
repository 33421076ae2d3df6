#include "server/http/byte_range.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace wdelta {
namespace {

using Kind = RequestedBytes::Kind;

// Digits only: no sign, no space. What does not fit is as good as the largest number.
bool ParseNumber(absl::string_view text, uint64_t& number) {
  if (text.empty() || !std::all_of(text.begin(), text.end(), [](char c) {
        return absl::ascii_isdigit(static_cast<unsigned char>(c));
      })) {
    return false;
  }
  if (!absl::SimpleAtoi(text, &number)) number = UINT64_MAX;
  return true;
}

}  // namespace

RequestedBytes ParseByteRange(absl::string_view range, uint64_t file_bytes) {
  const RequestedBytes all{Kind::kAll, 0, file_bytes};
  const std::pair<absl::string_view, absl::string_view> unit_and_set =
      absl::StrSplit(range, absl::MaxSplits('=', 1));
  if (!absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(unit_and_set.first), "bytes")) return all;
  const absl::string_view spec = absl::StripAsciiWhitespace(unit_and_set.second);
  const size_t dash = spec.find('-');
  if (dash == absl::string_view::npos) return all;
  const absl::string_view first_text = spec.substr(0, dash);
  const absl::string_view last_text = spec.substr(dash + 1);
  uint64_t first = 0;
  uint64_t last = UINT64_MAX;
  if (first_text.empty()) {
    uint64_t suffix_bytes = 0;
    if (!ParseNumber(last_text, suffix_bytes)) return all;
    if (suffix_bytes == 0 || file_bytes == 0) return {Kind::kUnsatisfiable, 0, 0};
    const uint64_t size = std::min(suffix_bytes, file_bytes);
    return {Kind::kPart, file_bytes - size, size};
  }
  if (!ParseNumber(first_text, first)) return all;
  if (!last_text.empty() && !ParseNumber(last_text, last)) return all;
  if (last < first) return all;
  if (first >= file_bytes) return {Kind::kUnsatisfiable, 0, 0};
  return {Kind::kPart, first, std::min(last, file_bytes - 1) - first + 1};
}

}  // namespace wdelta

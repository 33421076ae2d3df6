#include "client/cli/text.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace wdelta {
namespace {

constexpr size_t kShortIdChars = 8;
constexpr int kBarChars = 20;

}  // namespace

std::string HumanBytes(uint64_t bytes) {
  constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 would be printed as 1024.0.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string HumanRatio(uint64_t raw_bytes, uint64_t stored_bytes) {
  if (stored_bytes == 0) return "-";
  return absl::StrFormat("%.2fx",
                         static_cast<double>(raw_bytes) / static_cast<double>(stored_bytes));
}

std::string HumanCount(uint64_t count) {
  constexpr std::array<const char*, 4> kUnits = {"K", "M", "B", "T"};
  if (count < 1000) return absl::StrCat(count);
  double value = static_cast<double>(count) / 1000;
  size_t unit = 0;
  while (value >= 999.995 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return absl::StrFormat("%.2f%s", value, kUnits[unit]);
}

std::string HumanTime(const google::protobuf::Timestamp& time, absl::TimeZone zone) {
  if (time.seconds() == 0) return "";
  return absl::FormatTime("%Y-%m-%d %H:%M", absl::FromUnixSeconds(time.seconds()), zone);
}

std::string HumanTimeWithSeconds(const google::protobuf::Timestamp& time, absl::TimeZone zone) {
  if (time.seconds() == 0) return "";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(time.seconds()), zone);
}

std::string HumanDuration(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  if (seconds < 3600) return absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
  return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

std::string ShortId(absl::string_view id) {
  if (id.size() > kShortIdChars) id.remove_prefix(id.size() - kShortIdChars);
  return std::string(id);
}

std::string Printable(absl::string_view text) {
  std::string printable(text);
  for (size_t i = 0; i < printable.size(); ++i) {
    const auto byte = static_cast<unsigned char>(printable[i]);
    if (byte < 0x20 || byte == 0x7f) printable[i] = '?';
    // U+0080 to U+009F are control characters too.
    const bool is_c1 = byte == 0xc2 && i + 1 < printable.size() &&
                       static_cast<unsigned char>(printable[i + 1]) < 0xa0;
    if (is_c1) printable.replace(i, 2, "?");
  }
  return printable;
}

std::string ProgressLine(const Progress& progress, absl::Duration elapsed) {
  std::string line;
  if (progress.total_bytes == 0 && progress.done_bytes > 0) {
    line = HumanBytes(progress.done_bytes);
  } else {
    const double part = progress.total_bytes == 0
                            ? 1
                            : std::min(1.0, static_cast<double>(progress.done_bytes) /
                                                static_cast<double>(progress.total_bytes));
    const int filled = static_cast<int>(part * kBarChars);
    line = absl::StrFormat("[%s%s] %3d%%  %s / %s", std::string(filled, '#'),
                           std::string(kBarChars - filled, '.'), static_cast<int>(part * 100),
                           HumanBytes(progress.done_bytes), HumanBytes(progress.total_bytes));
  }
  const double seconds = absl::ToDoubleSeconds(elapsed);
  if (seconds <= 0 || progress.done_bytes == 0) return line;
  const double rate = static_cast<double>(progress.done_bytes) / seconds;
  absl::StrAppend(&line, "  ", HumanBytes(static_cast<uint64_t>(rate)), "/s");
  if (progress.done_bytes < progress.total_bytes) {
    const auto left = static_cast<double>(progress.total_bytes - progress.done_bytes);
    absl::StrAppend(&line, "  ETA ", HumanDuration(absl::Seconds(left / rate)));
  }
  return line;
}

}  // namespace wdelta

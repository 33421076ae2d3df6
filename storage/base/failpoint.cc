#include "storage/base/failpoint.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <deque>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace wdelta {
namespace {

struct Armed {
  Armed(absl::string_view point, int64_t count) : name(point), calls_left(count) {}
  const std::string name;
  std::atomic<int64_t> calls_left;
};

std::deque<Armed> ReadEnvironment() {
  std::deque<Armed> armed;
  const char* const text = std::getenv("WDELTA_FAILPOINTS");
  if (text == nullptr) return armed;
  for (const absl::string_view entry : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(entry, absl::MaxSplits(':', 1));
    int64_t count = 0;
    if (absl::SimpleAtoi(parts.second, &count)) armed.emplace_back(parts.first, count);
  }
  return armed;
}

}  // namespace

void Failpoint(absl::string_view name) {
  static std::deque<Armed> armed = ReadEnvironment();
  for (Armed& point : armed) {
    if (point.name == name && --point.calls_left == 0) ::kill(::getpid(), SIGKILL);
  }
}

}  // namespace wdelta

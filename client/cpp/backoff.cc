#include "client/cpp/backoff.h"

#include <algorithm>

namespace wdelta {

absl::Duration BackoffPause(absl::Duration initial, int failures, double jitter) {
  // Doubled so often, a nanosecond is beyond any bound; the factor stays exact.
  constexpr int kMaxDoublings = 40;
  const int doublings = std::clamp(failures - 1, 0, kMaxDoublings);
  const absl::Duration pause =
      std::min(kMaxBackoff, initial * static_cast<double>(uint64_t{1} << doublings));
  return pause * (0.5 + 0.5 * std::clamp(jitter, 0.0, 1.0));
}

}  // namespace wdelta

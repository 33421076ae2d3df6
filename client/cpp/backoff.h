// How long to wait before trying again: longer with each failure, up to a bound, and not
// the same for all who failed together.
#pragma once

#include "absl/random/random.h"
#include "absl/time/time.h"

namespace wdelta {

// Broken connections in a row that a transfer survives: 20 to 41 seconds of pauses together, from
// 200 ms on, and up to kReconnectTime after each. A daemon may drain for ten and start again.
inline constexpr int kDefaultReconnects = 12;

// No pause is longer.
inline constexpr absl::Duration kMaxBackoff = absl::Seconds(5);

// `initial` doubled with each failure after the first, at most kMaxBackoff; of that the
// half and `jitter`, 0 to 1, of the other half. `failures` is 1 or more, however many.
absl::Duration BackoffPause(absl::Duration initial, int failures, double jitter);

// Failures in a row. One thread at a time.
class Backoff {
 public:
  explicit Backoff(absl::Duration initial) : initial_(initial) {}

  // Counts a failure; the pause before the next attempt.
  absl::Duration Next() {
    ++failures_;
    return BackoffPause(initial_, failures_, absl::Uniform(random_, 0.0, 1.0));
  }
  // After something went well.
  void Reset() { failures_ = 0; }
  int failures() const { return failures_; }

 private:
  const absl::Duration initial_;
  absl::BitGen random_;
  int failures_ = 0;
};

}  // namespace wdelta

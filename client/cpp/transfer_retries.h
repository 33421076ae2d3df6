// When a transfer that broke off is begun again, and how often.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cpp/backoff.h"
#include "client/cpp/client.h"
#include "client/cpp/interrupt.h"
#include "client/cpp/rpc_status.h"
#include "client/cpp/stall_report.h"

namespace wdelta {

// After a refusal for want of a place, which costs a server little: who has waited long would else
// ask so seldom that others always have the place.
inline constexpr absl::Duration kMaxBusyPause = absl::Seconds(1);

// What a connection is given to come back, after each pause.
inline constexpr absl::Duration kReconnectTime = absl::Seconds(1);

// An attempt that fails after longer is told of at once.
inline constexpr absl::Duration kSilentAttempt = absl::Seconds(2);

// One thread at a time.
class TransferRetries {
 public:
  // By what PullOptions, PushOptions or FetchTensorsOptions allow. A failure that follows another,
  // or that took long, is told to `stall`, the transfer's own, which must outlive this.
  template <typename Options>
  TransferRetries(const Options& options, StallReport::Transfer& stall)
      : max_reconnects_(options.max_reconnects),
        max_busy_wait_(options.max_busy_wait),
        stall_(stall),
        backoff_(options.initial_backoff) {}

  // Bytes were received: failures before that do not count.
  void Reset() {
    backoff_.Reset();
    busy_since_.reset();
    broken_ = 0;
    attempt_since_ = Clock::now();
  }

  // How long to wait before the next attempt after one that ended with `status`; nullopt: there is
  // to be none.
  std::optional<absl::Duration> Next(const absl::Status& status) {
    if (!IsBusy(status)) return absl::IsUnavailable(status) ? NextAfterBreak(status) : std::nullopt;
    // A server may have let each attempt wait.
    if (!busy_since_.has_value()) busy_since_ = attempt_since_;
    if (Clock::now() - *busy_since_ >= absl::ToChronoNanoseconds(max_busy_wait_)) {
      return std::nullopt;
    }
    return std::min(Fail(status), kMaxBusyPause);
  }
  // Likewise after what came of a broken connection, whatever its code.
  std::optional<absl::Duration> NextAfterBreak(const absl::Status& status) {
    return broken_++ < max_reconnects_ ? std::optional(Fail(status)) : std::nullopt;
  }

 private:
  using Clock = std::chrono::steady_clock;

  absl::Duration Fail(const absl::Status& status) {
    const absl::Duration pause = backoff_.Next();
    const auto now = Clock::now();
    const bool took_long = now - attempt_since_ > absl::ToChronoNanoseconds(kSilentAttempt);
    if (took_long || backoff_.failures() > 1) stall_.Stalled(status);
    attempt_since_ = now;
    return pause;
  }

  const int max_reconnects_;
  const absl::Duration max_busy_wait_;
  StallReport::Transfer& stall_;
  Backoff backoff_;
  Clock::time_point attempt_since_ = Clock::now();  // or since bytes were received
  std::optional<Clock::time_point> busy_since_;     // the first attempt that was refused
  int broken_ = 0;                                  // connections in a row
};

// Waits for `pause`, unless interrupted, and then until there is a connection again.
inline void AwaitRetry(Client& client, absl::Duration pause, Interrupt& interrupt) {
  interrupt.Sleep(pause);
  client.AwaitConnection(kReconnectTime, interrupt);
}

}  // namespace wdelta

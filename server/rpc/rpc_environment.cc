#include "server/rpc/rpc_environment.h"

#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

absl::Status StoppingError() {
  return MakeError(absl::StatusCode::kUnavailable, "STOPPING", "the server is stopping");
}

}  // namespace

RpcEnvironment::RpcEnvironment(ModelStore* store, spdlog::logger* log, const RpcOptions& options)
    : store_(store),
      log_(log),
      options_(options),
      queries_(limits::kMaxWaitingCalls),
      changes_(limits::kMaxWaitingCalls),
      fetches_({.limit = options.max_fetches,
                .max_waiting = options.max_waiting_fetches,
                .max_waiting_bytes = admission_limits::kMaxWaitingFetchBytes,
                .max_wait = options.max_admission_wait,
                .reason = "TOO_MANY_FETCHES",
                .things = "fetches"}),
      // Each waits in a thread of the HTTP server, which bounds them.
      downloads_({.limit = options.max_downloads,
                  .max_waiting = std::numeric_limits<int>::max(),
                  .reason = "TOO_MANY_FETCHES",
                  .things = "downloads"}),
      write_streams_({.limit = options.max_write_streams,
                      .max_waiting = options.max_waiting_write_streams,
                      .max_wait = options.max_admission_wait,
                      .reason = "TOO_MANY_STREAMS",
                      .things = "streams of pieces"}),
      watches_(limits::kMaxJobWatches),
      comparisons_(limits::kMaxComparisons),
      foldings_(options.max_foldings),
      querying_(limits::kQueryThreads),
      changing_(limits::kChangeThreads),
      opening_(limits::kOpeningThreads),
      writing_(limits::kWriteThreads),
      watching_(limits::kMaxJobWatches),
      comparing_(limits::kMaxComparisons),
      folding_(options.max_foldings) {}

absl::Status RpcEnvironment::CheckServing() const {
  return IsDraining() ? StoppingError() : absl::OkStatus();
}

// A stream that comes while it runs finds its queue closed.
void RpcEnvironment::StartDraining() {
  draining_.Notify();
  downloads_.Close(StoppingError());
  fetches_.Close(StoppingError());
  write_streams_.Close(StoppingError());
}

absl::Status RpcEnvironment::ScheduleQuery(absl::AnyInvocable<void()> call) {
  return Schedule(queries_, querying_, std::move(call));
}

absl::Status RpcEnvironment::ScheduleChange(absl::AnyInvocable<void()> call) {
  return Schedule(changes_, changing_, std::move(call));
}

absl::Status RpcEnvironment::Schedule(Admission& admission, ThreadPool& pool,
                                      absl::AnyInvocable<void()> call) {
  WDELTA_RETURN_IF_ERROR(CheckServing());
  std::optional<Admission::Slot> slot = admission.TryEnter();
  if (!slot.has_value()) {
    return MakeError(
        absl::StatusCode::kResourceExhausted, "TOO_MANY_CALLS",
        absl::StrCat("expected at most ", admission.limit(), " such calls at once; try later"));
  }
  pool.Schedule([slot = *std::move(slot), call = std::move(call)]() mutable { call(); });
  return absl::OkStatus();
}

}  // namespace wdelta

#include "server/rpc/rpc_environment.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {

RpcEnvironment::RpcEnvironment(ModelStore* store, spdlog::logger* log, const RpcOptions& options)
    : store_(store),
      log_(log),
      options_(options),
      calls_(limits::kMaxWaitingCalls),
      fetches_(options.max_fetches),
      write_streams_(options.max_write_streams),
      watches_(limits::kMaxJobWatches),
      comparisons_(limits::kMaxComparisons),
      foldings_(options.max_foldings),
      unary_(limits::kUnaryThreads),
      streams_(limits::kStreamThreads),
      watching_(limits::kMaxJobWatches),
      comparing_(limits::kMaxComparisons),
      folding_(options.max_foldings) {}

absl::Status RpcEnvironment::CheckServing() const {
  if (!IsDraining()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kUnavailable, "STOPPING", "the server is stopping");
}

absl::Status RpcEnvironment::ScheduleCall(absl::AnyInvocable<void()> call) {
  WDELTA_RETURN_IF_ERROR(CheckServing());
  std::optional<Admission::Slot> slot = calls_.TryEnter();
  if (!slot.has_value()) {
    return MakeError(
        absl::StatusCode::kResourceExhausted, "TOO_MANY_CALLS",
        absl::StrCat("expected at most ", calls_.limit(), " calls at once; try later"));
  }
  unary_.Schedule([slot = *std::move(slot), call = std::move(call)]() mutable { call(); });
  return absl::OkStatus();
}

}  // namespace wdelta

#include "server/rpc/rpc_log.h"

#include <algorithm>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/rpc/status_map.h"
#include "storage/base/limits.h"

namespace wdelta {
namespace {

constexpr char kRequestIdKey[] = "x-request-id";

std::string RequestIdOf(const grpc::CallbackServerContext& context) {
  const auto found = context.client_metadata().find(kRequestIdKey);
  if (found != context.client_metadata().end()) {
    const absl::string_view id(found->second.data(), found->second.size());
    const bool is_plain = std::all_of(id.begin(), id.end(), [](char c) {
      return absl::ascii_isgraph(static_cast<unsigned char>(c));
    });
    if (!id.empty() && id.size() <= limits::kMaxRequestIdBytes && is_plain) return std::string(id);
  }
  thread_local absl::InsecureBitGen random;
  return absl::StrCat(absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16));
}

spdlog::level::level_enum LevelOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return spdlog::level::err;
    case absl::StatusCode::kCancelled:
      return spdlog::level::info;  // as the client pleases, and one line for each of its files
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return spdlog::level::info;  // a client's mistake, which nobody needs to look after
    default:
      return spdlog::level::warn;
  }
}

}  // namespace

RpcLog::RpcLog(RpcEnvironment* environment, std::string_view method,
               grpc::CallbackServerContext* context)
    : environment_(*environment),
      method_(method),
      start_(absl::Now()),
      peer_(context->peer()),
      request_id_(RequestIdOf(*context)) {
  context->AddInitialMetadata(kRequestIdKey, request_id_);
}

void RpcLog::Done(const absl::Status& status) {
  const absl::Duration duration = absl::Now() - start_;
  environment_.stats().durations_seconds.Add({method_, status.code()},
                                             absl::ToDoubleSeconds(duration));
  spdlog::logger& log = *environment_.log();
  const double duration_ms = absl::ToDoubleMilliseconds(duration);
  if (status.ok()) {
    log.debug("rpc {} OK in {:.1f} ms, request {}, peer {}", method_, duration_ms, request_id_,
              peer_);
    return;
  }
  // A drain that ends calls looks like clients that left.
  const bool is_of_drain = absl::IsCancelled(status) && !environment_.CheckServing().ok();
  log.log(LevelOf(status.code()), "rpc {} failed: {} ({}): {}; {:.1f} ms, request {}, peer {}",
          method_, absl::StatusCodeToString(status.code()), WireReason(status),
          is_of_drain ? "ended by the daemon, which stops, or by the client"
                      : std::string(status.message()),
          duration_ms, request_id_, peer_);
}

}  // namespace wdelta

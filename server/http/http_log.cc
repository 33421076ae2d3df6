#include "server/http/http_log.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/http/socket_server.h"

namespace wdelta {
namespace {

constexpr size_t kMaxLoggedTargetBytes = 256;

spdlog::level::level_enum LevelOf(int status) {
  if (status == 503) return spdlog::level::warn;
  return status >= 500 ? spdlog::level::err : spdlog::level::debug;
}

// Zero: not known.
absl::Duration DurationOf(const httplib::Request& request) {
  int64_t received_us = 0;
  const bool has_start = absl::SimpleAtoi(request.get_header_value(kReceivedHeader), &received_us);
  return has_start ? absl::Now() - absl::FromUnixMicros(received_us) : absl::ZeroDuration();
}

}  // namespace

void LogRequest(spdlog::logger& log, const httplib::Request& request,
                const httplib::Response& response) {
  const spdlog::level::level_enum level = LevelOf(response.status);
  if (!log.should_log(level)) return;
  const double duration_ms = absl::ToDoubleMilliseconds(DurationOf(request));
  log.log(level, "http {} {} {} in {:.1f} ms, request {}, peer {}:{}{}{}", request.method,
          absl::CHexEscape(request.target.substr(0, kMaxLoggedTargetBytes)), response.status,
          duration_ms, request.get_header_value(kRequestIdHeader), request.remote_addr,
          request.remote_port, response.has_header("X-Error-Message") ? ": " : "",
          response.get_header_value("X-Error-Message"));
}

void CountRequest(HttpStats& stats, const httplib::Request& request,
                  const httplib::Response& response) {
  // Clients may send any word.
  constexpr const char* kMethods[] = {"GET", "HEAD", "POST", "PUT", "DELETE"};
  const bool is_known =
      std::find(std::begin(kMethods), std::end(kMethods), request.method) != std::end(kMethods);
  stats.durations_seconds.Add({is_known ? request.method : "other", response.status},
                              absl::ToDoubleSeconds(DurationOf(request)));
}

}  // namespace wdelta

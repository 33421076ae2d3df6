#include "server/http/listen_address.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace wdelta {

absl::StatusOr<HostAndPort> ParseListenAddress(absl::string_view option, absl::string_view text) {
  const size_t colon = text.rfind(':');
  HostAndPort parsed;
  if (colon == absl::string_view::npos || colon == 0 ||
      !absl::SimpleAtoi(text.substr(colon + 1), &parsed.port) || parsed.port < 0 ||
      parsed.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": expected HOST:PORT, found '", text, "'"));
  }
  absl::string_view host = text.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");  // IPv6
  parsed.host = std::string(host);
  return parsed;
}

std::string WithPort(absl::string_view text, int port) {
  return absl::StrCat(text.substr(0, text.rfind(':')), ":", port);
}

}  // namespace wdelta

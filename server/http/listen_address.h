// HOST:PORT as it is configured.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

struct HostAndPort {
  std::string host;  // of IPv6 without brackets
  int port = 0;      // 0: any free one
};

// INVALID_ARGUMENT that begins with the name of the option.
absl::StatusOr<HostAndPort> ParseListenAddress(absl::string_view option, absl::string_view text);

// `text` with the port that was bound.
std::string WithPort(absl::string_view text, int port);

}  // namespace wdelta

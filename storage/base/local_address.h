// Which addresses stay on this machine. Pure; any thread.
#pragma once

#include "absl/strings/string_view.h"

namespace wdelta {

// `unix:/path`, or HOST:PORT whose host is `localhost`, 127.x.y.z or `[::1]`.
bool IsLocalAddress(absl::string_view address);

}  // namespace wdelta

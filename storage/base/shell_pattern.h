// Names by pattern, as shells match them. Pure function; any thread.
#pragma once

#include "absl/strings/string_view.h"

namespace wdelta {

// True when `text` matches a shell pattern of `*`, `?` and literal characters.
bool MatchesPattern(absl::string_view pattern, absl::string_view text);

}  // namespace wdelta

// Names by pattern, as shells match them. Pure function; any thread.
#pragma once

#include <algorithm>

#include "absl/strings/string_view.h"

namespace wdelta {

// True when `text` matches a shell pattern of `*`, `?` and literal characters.
bool MatchesPattern(absl::string_view pattern, absl::string_view text);

// True when any pattern of a container matches, or when there are none.
template <typename Patterns>
bool MatchesAny(const Patterns& patterns, absl::string_view text) {
  return patterns.empty() ||
         std::any_of(patterns.begin(), patterns.end(),
                     [&](const auto& pattern) { return MatchesPattern(pattern, text); });
}

}  // namespace wdelta

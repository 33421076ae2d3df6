// Named points at which a test kills the process, to see what a crash leaves.
#pragma once

#include "absl/strings/string_view.h"

namespace wdelta {

// Before and after everything that makes bytes durable or takes them away.
inline constexpr absl::string_view kFailpoints[] = {
    "staging.create.before", "staging.create.after", "staging.append.before",
    "staging.append.after",  "staging.sync.before",  "staging.sync.after",
    "staging.remove.before", "staging.remove.after", "blob.put.before",
    "blob.put.after",        "blob.delete.before",   "blob.delete.after",
    "catalog.commit.before", "catalog.commit.after",
};

// Ends the process with SIGKILL at call number COUNT for a name of `NAME:COUNT,...` in
// the environment variable WDELTA_FAILPOINTS, as it was at the first call of all; entries
// that cannot be read count for nothing. Without the variable it does nothing. Any thread
// may call it.
void Failpoint(absl::string_view name);

}  // namespace wdelta

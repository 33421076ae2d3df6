// The file of tokens that the daemon knows: YAML, a list of
//
//   - name: ci                # for the log; [A-Za-z0-9_.-], unique
//     sha256: 9f86…           # of the token, 64 lower-case hex digits, unique
//     scopes: [read, write]   # of read, write, admin; none includes another
//     names: [run-, team/]    # optional: prefixes that names of models must begin with
//
// The tokens themselves are nowhere in it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/auth/identity.h"

namespace wdelta {

// Bounds: auth_limits.h. INVALID_ARGUMENT, in one line that names the file, the entry and the
// field, without what was found in place of a hash: it may be a token. Pure; any thread.
absl::StatusOr<std::vector<IdentityPtr>> ParseTokenFile(const std::string& path,
                                                        const std::string& text);

// Likewise of a file. NOT_FOUND when it cannot be read.
absl::StatusOr<std::vector<IdentityPtr>> ReadTokenFile(const std::string& path);

}  // namespace wdelta

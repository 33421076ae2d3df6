// Whole files that people write: options, tokens, certificates.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace wdelta {

// NOT_FOUND when it cannot be read, INVALID_ARGUMENT beyond `max_bytes`, of which one more is read
// at most; both begin with the path. Any thread.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path, size_t max_bytes);

}  // namespace wdelta

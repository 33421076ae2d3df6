// Looks at a `.wdelta` file of this machine before it is sent or shown.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "storage/base/file_system.h"

namespace wdelta {

// INVALID_ARGUMENT (`BAD_WDELTA`) naming the file where it does not even begin like one of any
// version: then it is something else, and not a damaged one. Errors of the disk. Any thread.
absl::Status CheckIsDelta(const std::string& file_name, const RandomAccessFile& file);

}  // namespace wdelta

// What the store would refuse in a checkpoint once all of it is there, told before a byte is sent.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "client/cpp/local_files.h"

namespace wdelta {

// Reads the headers of safetensors files, and the indexes of shards; no tensors. INVALID_ARGUMENT
// (reasons `BAD_SAFETENSORS`, `BAD_INDEX`) names the file, in the words of the daemon, which checks
// all of it again; the disk's errors.
absl::Status CheckLocalCheckpoint(const std::vector<LocalFile>& files);

}  // namespace wdelta

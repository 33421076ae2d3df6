// SHA-256 of files on this machine. Any thread may call it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "storage/base/digest.h"
#include "storage/base/file_system.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {

// Gives the first `size_bytes` to `hasher`. Errors of the file.
absl::Status HashFile(const RandomAccessFile& file, uint64_t size_bytes, Sha256Hasher& hasher);
absl::Status HashFile(const std::string& file_name, uint64_t size_bytes, Sha256Hasher& hasher);

// Whether a regular file of that name has the size and the SHA-256 of `file`.
bool HoldsContent(const std::string& file_name, const v1::File& file);

}  // namespace wdelta

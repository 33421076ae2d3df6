// Argument checks and errors that every blob store shares. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/digest.h"

namespace wdelta {

// INVALID_ARGUMENT: more than kMaxBlobBytes, or not the bytes of `digest`.
absl::Status CheckBlob(const Digest& digest, absl::string_view data);

// OUT_OF_RANGE unless [offset, offset + size) lies within the blob.
absl::Status CheckBlobRange(const Digest& digest, uint64_t offset, uint64_t size,
                            uint64_t blob_size_bytes);

// The digest to list after, nullopt for the first page. INVALID_ARGUMENT: bad
// hex, or no limit.
absl::StatusOr<std::optional<Digest>> CheckBlobList(const std::string& after_hex, uint32_t limit);

absl::Status BlobNotFoundError(const Digest& digest);

}  // namespace wdelta

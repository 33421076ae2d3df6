// The metadata of a `.wdelta` file as bytes, before compression. Private to the
// room; no state, any thread may call it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/wdelta/wdelta_file.h"

namespace wdelta {

// DATA_LOSS with reason `BAD_WDELTA`.
absl::Status BadWdelta(absl::string_view message);
// UNIMPLEMENTED with reason `UNSUPPORTED_WDELTA`.
absl::Status UnsupportedWdelta(absl::string_view message);

std::string SerializeMetadata(const WdeltaFile& file);

// Sizes and offsets that the bytes imply are filled in, but nothing is checked
// beyond what parsing needs: see CheckConsistency. Leaves `file_bytes` at 0.
absl::StatusOr<WdeltaFile> ParseMetadata(absl::string_view bytes);

// Every rule of FORMAT.md on the tables taken together, and that the payloads end
// at `payload_end`. BAD_WDELTA names the first that is broken.
absl::Status CheckConsistency(const WdeltaFile& file, uint64_t payload_end);

// Chunks of a stream of `size_bytes`.
uint64_t ChunkCountOf(uint64_t size_bytes, uint64_t chunk_bytes);

// "stream 3 (`layers.0.weight`)"
std::string DescribeStream(const WdeltaFile& file, uint64_t stream);

}  // namespace wdelta

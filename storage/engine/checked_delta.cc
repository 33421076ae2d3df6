#include "storage/engine/checked_delta.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {

absl::StatusOr<std::shared_ptr<const CheckedDelta>> CheckedDelta::Open(
    std::string name, std::shared_ptr<const RandomAccessFile> file) {
  absl::StatusOr<std::shared_ptr<const WdeltaReader>> reader = WdeltaReader::Open(file);
  if (!reader.ok()) return Annotate(reader.status(), name);
  return std::shared_ptr<const CheckedDelta>(
      new CheckedDelta(std::move(name), std::move(file), *std::move(reader)));
}

absl::Status CheckedDelta::Read(uint64_t offset, char* destination, size_t size) const {
  WDELTA_RETURN_IF_ERROR(file_->Read(offset, destination, size));
  const absl::Status checked = CheckChunks(offset, absl::string_view(destination, size));
  return checked.ok() ? checked : Annotate(checked, name_);
}

absl::Status CheckedDelta::CheckChunks(uint64_t offset, absl::string_view bytes) const {
  const std::vector<WdeltaChunk>& chunks = reader_->file().chunks;
  const uint64_t end = offset + bytes.size();
  // Payloads lie back to back, in order.
  auto chunk = std::partition_point(chunks.begin(), chunks.end(), [&](const WdeltaChunk& c) {
    return c.payload_offset + c.payload_bytes <= offset;
  });
  for (; chunk != chunks.end() && chunk->payload_offset < end; ++chunk) {
    const bool is_whole =
        chunk->payload_offset >= offset && chunk->payload_offset + chunk->payload_bytes <= end;
    if (is_whole && Crc32c(bytes.substr(chunk->payload_offset - offset, chunk->payload_bytes)) ==
                        chunk->payload_crc32c) {
      continue;
    }
    const auto number = static_cast<size_t>(chunk - chunks.begin());
    WDELTA_RETURN_IF_ERROR(CheckStoredChunk(number));
    if (is_whole) return absl::DataLossError(absl::StrCat("chunk ", number, " was read damaged"));
  }
  return absl::OkStatus();
}

absl::Status CheckedDelta::CheckStoredChunk(size_t chunk) const {
  const std::vector<WdeltaStream>& streams = reader_->file().streams;
  const auto behind = std::partition_point(
      streams.begin(), streams.end(),
      [&](const WdeltaStream& s) { return s.first_chunk + s.chunk_count <= chunk; });
  return reader_
      ->ReadPayload(static_cast<uint32_t>(behind - streams.begin()), chunk - behind->first_chunk)
      .status();
}

}  // namespace wdelta

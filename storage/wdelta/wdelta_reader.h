// Reads `.wdelta` version 2 files, trusting nothing in them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/file_system.h"
#include "storage/codec/codec.h"
#include "storage/wdelta/wdelta_file.h"

namespace wdelta {

// Immutable after Open: any thread may call it.
class WdeltaReader {
 public:
  // Reads and checks preamble, footer and metadata. DATA_LOSS (reason
  // `BAD_WDELTA`) names the field and its offset, expected and found;
  // UNIMPLEMENTED for another version. Memory is bounded by limits.h.
  static absl::StatusOr<std::shared_ptr<const WdeltaReader>> Open(
      std::shared_ptr<const RandomAccessFile> file);

  const WdeltaFile& file() const { return metadata_; }

  // Payload of a chunk, its checksum verified. DATA_LOSS (reason `BAD_WDELTA`)
  // names the chunk; INVALID_ARGUMENT when there is no such chunk, here and below.
  absl::StatusOr<std::string> ReadPayload(uint32_t stream, uint64_t index_in_stream) const;

  // The factors of a stream's correction, their checksums verified. DATA_LOSS (reason
  // `BAD_WDELTA`) names the stream; INVALID_ARGUMENT when it has none.
  absl::StatusOr<std::string> ReadFactors(uint32_t stream) const;

  // Decodes a chunk into `destination`, which has room for its span, and verifies
  // the content checksum. `parent`: the parent stream's bytes of the same span, cut
  // to what the parent has, converted and corrected where the stream says so; ignored by modes that
  // need none. DATA_LOSS names stream and chunk.
  absl::Status DecodeChunk(ChunkCodec& codec, uint32_t stream, uint64_t index_in_stream,
                           std::optional<absl::string_view> parent, char* destination) const;

  // Whether DecodeChunk needs `parent` for this chunk.
  bool ChunkNeedsParent(uint32_t stream, uint64_t index_in_stream) const;

 private:
  struct Located {
    const WdeltaStream& stream;
    const WdeltaChunk& chunk;
  };
  absl::StatusOr<Located> Locate(uint32_t stream, uint64_t index_in_stream) const;
  absl::Status ReadPayloadInto(uint32_t stream, uint64_t index_in_stream,
                               std::string& payload) const;

  WdeltaReader(std::shared_ptr<const RandomAccessFile> file, WdeltaFile metadata)
      : source_(std::move(file)), metadata_(std::move(metadata)) {}

  std::shared_ptr<const RandomAccessFile> source_;
  WdeltaFile metadata_;
};

}  // namespace wdelta

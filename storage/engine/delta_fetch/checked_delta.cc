#include "storage/engine/delta_fetch/checked_delta.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

class FilePieces final : public PiecePlan {
 public:
  // `ends`: of the pieces, within the file.
  FilePieces(uint64_t begin, std::vector<uint64_t> ends) : begin_(begin), ends_(std::move(ends)) {}
  size_t piece_count() const override { return ends_.size(); }
  absl::Status Read(const ContentSource& source, size_t index, std::string& bytes) const override {
    const uint64_t first = index == 0 ? begin_ : ends_[index - 1];
    bytes.resize(ends_[index] - first);
    return source.Read(0, first, bytes.size(), bytes.data());
  }

 private:
  const uint64_t begin_;
  const std::vector<uint64_t> ends_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const CheckedDelta>> CheckedDelta::Open(
    std::string name, std::shared_ptr<const RandomAccessFile> file) {
  absl::StatusOr<std::shared_ptr<const WdeltaReader>> reader = WdeltaReader::Open(file);
  if (!reader.ok()) return Annotate(reader.status(), name);
  return std::shared_ptr<const CheckedDelta>(
      new CheckedDelta(std::move(name), std::move(file), *std::move(reader)));
}

CheckedDelta::CheckedDelta(std::string name, std::shared_ptr<const RandomAccessFile> file,
                           std::shared_ptr<const WdeltaReader> reader)
    : name_(std::move(name)), file_(std::move(file)), reader_(std::move(reader)) {
  const std::vector<WdeltaStream>& streams = reader_->file().streams;
  for (uint32_t i = 0; i < streams.size(); ++i) {
    if (streams[i].correction.has_value()) corrected_.push_back(i);
  }
}

absl::Status CheckedDelta::Read(uint64_t offset, char* destination, size_t size) const {
  WDELTA_RETURN_IF_ERROR(file_->Read(offset, destination, size));
  absl::Status checked = CheckFactors(offset, absl::string_view(destination, size));
  if (checked.ok()) checked = CheckChunks(offset, absl::string_view(destination, size));
  return checked.ok() ? checked : Annotate(checked, name_);
}

uint64_t CheckedDelta::FactorBytesOf(uint32_t stream) const {
  const WdeltaStream& info = reader_->file().streams[stream];
  return FactorBytes(info.info.tensor, info.correction->form).value_or(0);
}

std::vector<uint32_t>::const_iterator CheckedDelta::FirstFactorsBehind(uint64_t offset) const {
  // Payloads lie back to back, in order.
  return std::partition_point(corrected_.begin(), corrected_.end(), [&](uint32_t stream) {
    return reader_->file().streams[stream].correction->payload_offset + FactorBytesOf(stream) <=
           offset;
  });
}

absl::Status CheckedDelta::CheckFactors(uint64_t offset, absl::string_view bytes) const {
  const uint64_t end = offset + bytes.size();
  for (auto at = FirstFactorsBehind(offset); at != corrected_.end(); ++at) {
    const WdeltaCorrection& correction = *reader_->file().streams[*at].correction;
    const uint64_t begin = correction.payload_offset;
    if (begin >= end) break;
    const uint64_t size_bytes = FactorBytesOf(*at);
    const bool is_whole = begin >= offset && begin + size_bytes <= end;
    if (is_whole && Crc32c(bytes.substr(begin - offset, size_bytes)) == correction.payload_crc32c) {
      continue;
    }
    WDELTA_RETURN_IF_ERROR(reader_->ReadFactors(*at).status());
    if (is_whole) return absl::DataLossError(absl::StrCat("stream ", *at, " was read damaged"));
  }
  return absl::OkStatus();
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

std::unique_ptr<const PiecePlan> CheckedDelta::PiecesFrom(uint64_t offset) const {
  const std::vector<WdeltaChunk>& chunks = reader_->file().chunks;
  const uint64_t file_bytes = reader_->file().file_bytes;
  std::vector<uint64_t> ends;
  auto chunk = chunks.begin();
  for (uint64_t begin = offset; begin < file_bytes; begin = ends.back()) {
    uint64_t end = std::min(file_bytes, begin + limits::kFetchPieceBytes);
    // The payload that the end of the piece would cut.
    chunk = std::partition_point(chunk, chunks.end(), [&](const WdeltaChunk& c) {
      return c.payload_offset + c.payload_bytes <= end;
    });
    if (chunk != chunks.end() && chunk->payload_offset > begin) {
      end = std::min(end, chunk->payload_offset);
    }
    if (const auto cut = FirstFactorsBehind(end); cut != corrected_.end()) {
      const uint64_t factors = reader_->file().streams[*cut].correction->payload_offset;
      if (factors > begin) end = std::min(end, factors);
    }
    ends.push_back(end);
  }
  return std::make_unique<const FilePieces>(offset, std::move(ends));
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

#include "storage/engine/scrub/damage.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "absl/strings/str_cat.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

struct FileRange {
  uint64_t begin = 0;
  uint64_t end = 0;
};

bool Overlaps(const std::vector<FileRange>& ranges, uint64_t begin, uint64_t end) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const FileRange& range) {
    return begin < range.end && range.begin < end;
  });
}

absl::Status CheckBlobBytes(const store::v1::DeltaPiece& piece, absl::string_view bytes) {
  if (Digest::Of(bytes).ToBytes() == piece.blob_digest()) return absl::OkStatus();
  return absl::DataLossError("its bytes have another SHA-256");
}

// Whether what a stream's parent is corrected with cannot be read.
bool HasLostFactors(const WdeltaReader& reader, uint32_t stream,
                    const std::vector<FileRange>& damaged) {
  const WdeltaStream& info = reader.file().streams[stream];
  if (!info.correction.has_value()) return false;
  const uint64_t begin = info.correction->payload_offset;
  const uint64_t size = FactorBytes(info.info.tensor, info.correction->form).value_or(0);
  return Overlaps(damaged, begin, begin + size) && !reader.ReadFactors(stream).ok();
}

// Of the chunks that lie in damaged blobs, those that cannot be read.
std::vector<LostSpan> LostIn(const WdeltaReader& reader, const std::vector<FileRange>& damaged) {
  std::vector<LostSpan> spans;
  const WdeltaFile& file = reader.file();
  for (uint32_t i = 0; i < file.streams.size(); ++i) {
    const WdeltaStream& stream = file.streams[i];
    const bool has_lost_factors = HasLostFactors(reader, i, damaged);
    for (uint64_t c = 0; c < stream.chunk_count; ++c) {
      const WdeltaChunk& chunk = file.chunks[stream.first_chunk + c];
      const uint64_t end = chunk.payload_offset + chunk.payload_bytes;
      const bool is_lost =
          Overlaps(damaged, chunk.payload_offset, end) && !reader.ReadPayload(i, c).ok();
      if (!is_lost && !(has_lost_factors && NeedsParent(chunk.mode))) continue;
      const ChunkSpan span = SpanOfChunk(file, stream, c);
      spans.push_back({i, span.offset_bytes, span.offset_bytes + span.size_bytes});
    }
  }
  return spans;
}

}  // namespace

absl::StatusOr<Damage> FindDamage(Reader& reader, const store::v1::ModelRecord& model,
                                  const std::function<absl::Status(uint64_t)>& advance) {
  Damage damage;
  std::vector<FileRange> damaged;
  const std::shared_ptr<const RandomAccessFile> file = reader.OpenDelta(model);
  std::string bytes;
  uint64_t offset = 0;
  for (const store::v1::DeltaPiece& piece : model.delta_pieces()) {
    if (piece.size_bytes() > limits::kMaxBlobBytes) {
      return absl::DataLossError("model record: a piece is larger than any blob");
    }
    bytes.resize(piece.size_bytes());
    absl::Status status = file->Read(offset, bytes.data(), bytes.size());
    if (status.ok()) status = CheckBlobBytes(piece, bytes);
    if (!status.ok()) {
      WDELTA_ASSIGN_OR_RETURN(const Digest digest, Digest::FromBytes(piece.blob_digest()));
      if (damage.blobs.empty()) {
        damage.problem = absl::StrCat("blob ", digest.ToHex(), ": ", status.message());
      }
      damage.blobs.push_back(digest);
      damaged.push_back({offset, offset + piece.size_bytes()});
    }
    offset += piece.size_bytes();
    WDELTA_RETURN_IF_ERROR(advance(piece.size_bytes()));
  }
  if (damaged.empty()) return damage;
  const auto opened = WdeltaReader::Open(file);
  damage.is_total = !opened.ok();
  if (opened.ok()) damage.spans = LostIn(**opened, damaged);
  return damage;
}

std::vector<LostSpan> SpansThatNeed(const WdeltaReader& child,
                                    const std::vector<LostSpan>& parent) {
  std::vector<LostSpan> spans;
  const WdeltaFile& file = child.file();
  for (uint32_t i = 0; i < file.streams.size(); ++i) {
    const WdeltaStream& stream = file.streams[i];
    if (!stream.parent_stream.has_value()) continue;
    const auto first = std::lower_bound(
        parent.begin(), parent.end(), *stream.parent_stream,
        [](const LostSpan& span, uint32_t wanted) { return span.stream < wanted; });
    if (first == parent.end() || first->stream != *stream.parent_stream) continue;
    for (uint64_t c = 0; c < stream.chunk_count; ++c) {
      if (!child.ChunkNeedsParent(i, c)) continue;
      const ChunkSpan span = SpanOfChunk(file, stream, c);
      const ChunkSpan from = SpanInParent(span, stream.info.tensor.dtype, stream.parent_dtype,
                                          std::numeric_limits<uint64_t>::max());
      const uint64_t from_end = from.offset_bytes + from.size_bytes;
      for (auto lost = first; lost != parent.end() && lost->stream == first->stream; ++lost) {
        if (from.offset_bytes >= lost->end_bytes || lost->begin_bytes >= from_end) continue;
        spans.push_back({i, span.offset_bytes, span.offset_bytes + span.size_bytes});
        break;
      }
    }
  }
  return spans;
}

std::vector<std::string> DescribeSpans(const WdeltaFile& file, const std::vector<LostSpan>& spans,
                                       size_t limit) {
  std::vector<std::string> lines;
  for (const LostSpan& span : spans) {
    if (lines.size() == limit) break;
    const StreamInfo& info = file.streams[span.stream].info;
    const std::string& path = file.files[info.file_index].path;
    const std::string what = info.kind == StreamKind::kTensor
                                 ? absl::StrCat("tensor '", info.tensor.name, "' of ", path)
                             : info.kind == StreamKind::kHeader ? absl::StrCat("header of ", path)
                                                                : absl::StrCat("file ", path);
    lines.push_back(absl::StrCat(what, ", bytes ", span.begin_bytes, " to ", span.end_bytes));
  }
  return lines;
}

}  // namespace wdelta

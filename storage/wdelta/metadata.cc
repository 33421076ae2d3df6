#include "storage/wdelta/metadata.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/byte_reader.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/wdelta/fidelity_section.h"
#include "storage/wdelta/format.h"

namespace wdelta {
namespace {

using format::kFirstOptionalTag;

std::string SerializeHeader(const WdeltaFile& file) {
  std::string out;
  AppendVarint(out, file.chunk_bytes);
  out += file.model_digest.ToBytes();
  AppendU8(out, file.parent_digest.has_value() ? format::kHasParentFlag : 0);
  if (file.parent_digest.has_value()) out += file.parent_digest->ToBytes();
  return out;
}

std::string SerializeFiles(const WdeltaFile& file) {
  std::string out;
  AppendVarint(out, file.files.size());
  for (const CheckpointFile& entry : file.files) {
    AppendSizedBytes(out, entry.path);
    AppendVarint(out, entry.size_bytes);
    out += entry.sha256.ToBytes();
    AppendU8(out, entry.is_safetensors ? format::kIsSafetensorsFlag : 0);
  }
  return out;
}

std::string SerializeStreams(const WdeltaFile& file) {
  std::string out;
  AppendVarint(out, file.streams.size());
  for (const WdeltaStream& stream : file.streams) {
    AppendU8(out, static_cast<uint8_t>(stream.info.kind));
    AppendVarint(out, stream.info.file_index);
    AppendU8(out, static_cast<uint8_t>(stream.info.tensor.dtype));
    AppendSizedBytes(out, stream.info.tensor.name);
    AppendVarint(out, stream.info.tensor.shape.size());
    for (const uint64_t dimension : stream.info.tensor.shape) AppendVarint(out, dimension);
    AppendU8(out, (stream.parent_stream.has_value() ? format::kHasParentStreamFlag : 0) |
                      (stream.parent_dtype.has_value() ? format::kHasParentDTypeFlag : 0) |
                      (stream.correction.has_value() ? format::kHasCorrectionFlag : 0));
    if (stream.parent_stream.has_value()) AppendVarint(out, *stream.parent_stream);
    if (stream.parent_dtype.has_value()) {
      AppendU8(out, static_cast<uint8_t>(*stream.parent_dtype));
    }
    if (stream.correction.has_value()) {
      AppendVarint(out, stream.correction->form.rank);
      AppendU8(out, static_cast<uint8_t>(stream.correction->form.factor_dtype));
      AppendU32(out, stream.correction->payload_crc32c);
      AppendU64(out, stream.correction->payload_xxh3);
    }
    out += stream.sha256.ToBytes();
  }
  return out;
}

std::string SerializeChunks(const WdeltaFile& file) {
  std::string out;
  AppendVarint(out, file.chunks.size());
  for (const WdeltaChunk& chunk : file.chunks) AppendU8(out, static_cast<uint8_t>(chunk.mode));
  for (const WdeltaChunk& chunk : file.chunks) AppendVarint(out, chunk.payload_bytes);
  for (const WdeltaChunk& chunk : file.chunks) AppendU32(out, chunk.payload_crc32c);
  for (const WdeltaChunk& chunk : file.chunks) AppendU64(out, chunk.content_xxh3);
  return out;
}

void AppendSection(std::string& out, uint8_t tag, absl::string_view body) {
  AppendU8(out, tag);
  AppendSizedBytes(out, body);
}

absl::StatusOr<Digest> ReadDigest(ByteReader& reader, absl::string_view field) {
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view raw, reader.ReadBytes(kDigestBytes, field));
  return Digest::FromBytes(raw);
}

absl::StatusOr<uint8_t> ReadFlags(ByteReader& reader, uint8_t known, absl::string_view field) {
  WDELTA_ASSIGN_OR_RETURN(const uint8_t flags, reader.ReadU8(field));
  if ((flags & ~known) != 0) {
    return UnsupportedWdelta(absl::StrCat(field, ": expected no bits but ", known, ", found ",
                                          flags, ": written by a later version"));
  }
  return flags;
}

// A count of records that take `min_record_bytes` each of what remains.
absl::StatusOr<uint64_t> ReadCount(ByteReader& reader, uint64_t limit, uint64_t min_record_bytes,
                                   absl::string_view field) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t count, reader.ReadVarint(field));
  if (count > limit || count > reader.remaining() / min_record_bytes) {
    return BadWdelta(absl::StrCat(field, ": expected at most ",
                                  std::min(limit, reader.remaining() / min_record_bytes),
                                  ", found ", count));
  }
  return count;
}

absl::Status ParseHeader(ByteReader& reader, WdeltaFile& file) {
  WDELTA_ASSIGN_OR_RETURN(file.chunk_bytes, reader.ReadVarint("chunk_bytes"));
  if (file.chunk_bytes == 0 || file.chunk_bytes > limits::kMaxChunkBytes ||
      file.chunk_bytes % format::kChunkBytesMultiple != 0) {
    return BadWdelta(absl::StrCat("chunk_bytes: expected a multiple of 8 up to ",
                                  limits::kMaxChunkBytes, ", found ", file.chunk_bytes));
  }
  WDELTA_ASSIGN_OR_RETURN(file.model_digest, ReadDigest(reader, "model_digest"));
  WDELTA_ASSIGN_OR_RETURN(const uint8_t flags,
                          ReadFlags(reader, format::kHasParentFlag, "header flags"));
  if ((flags & format::kHasParentFlag) != 0) {
    WDELTA_ASSIGN_OR_RETURN(file.parent_digest, ReadDigest(reader, "parent_digest"));
  }
  return absl::OkStatus();
}

absl::Status ParseFiles(ByteReader& reader, WdeltaFile& file) {
  WDELTA_ASSIGN_OR_RETURN(
      const uint64_t count,
      ReadCount(reader, limits::kMaxEntriesPerUpload, format::kMinFileRecordBytes, "file count"));
  file.files.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    CheckpointFile entry;
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view path,
                            reader.ReadSizedBytes(limits::kMaxPathBytes, "file path"));
    entry.path = std::string(path);
    WDELTA_ASSIGN_OR_RETURN(entry.size_bytes, reader.ReadVarint("file size"));
    WDELTA_ASSIGN_OR_RETURN(entry.sha256, ReadDigest(reader, "file sha256"));
    WDELTA_ASSIGN_OR_RETURN(const uint8_t flags,
                            ReadFlags(reader, format::kIsSafetensorsFlag, "file flags"));
    entry.is_safetensors = (flags & format::kIsSafetensorsFlag) != 0;
    file.files.push_back(std::move(entry));
  }
  return absl::OkStatus();
}

absl::StatusOr<StreamKind> ParseKind(uint8_t byte) {
  switch (static_cast<StreamKind>(byte)) {
    case StreamKind::kTensor:
    case StreamKind::kHeader:
    case StreamKind::kSideFile:
      return static_cast<StreamKind>(byte);
  }
  return UnsupportedWdelta(absl::StrCat("stream kind: expected 1 to 3, found ", byte));
}

absl::StatusOr<std::vector<uint64_t>> ParseShape(ByteReader& reader) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t dimensions,
                          ReadCount(reader, limits::kMaxTensorDimensions, 1, "dimensions"));
  std::vector<uint64_t> shape(dimensions);
  for (uint64_t& dimension : shape) {
    WDELTA_ASSIGN_OR_RETURN(dimension, reader.ReadVarint("dimension"));
  }
  return shape;
}

absl::StatusOr<uint32_t> ReadIndex(ByteReader& reader, uint64_t limit, absl::string_view field) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t index, reader.ReadVarint(field));
  if (index >= limit) {
    return BadWdelta(absl::StrCat(field, ": expected below ", limit, ", found ", index));
  }
  return static_cast<uint32_t>(index);
}

absl::StatusOr<WdeltaCorrection> ParseCorrection(ByteReader& reader, const TensorInfo& tensor) {
  WdeltaCorrection correction;
  WDELTA_ASSIGN_OR_RETURN(correction.form.rank,
                          ReadIndex(reader, limits::kMaxCorrectionRank + 1, "correction rank"));
  WDELTA_ASSIGN_OR_RETURN(const uint8_t byte, reader.ReadU8("factor dtype"));
  const absl::StatusOr<DType> dtype = DTypeFromByte(byte);
  if (!dtype.ok()) return UnsupportedWdelta(dtype.status().message());
  correction.form.factor_dtype = *dtype;
  if (!FactorBytes(tensor, correction.form).has_value()) {
    return BadWdelta(absl::StrCat("correction of rank ", correction.form.rank, " and dtype ",
                                  DTypeName(*dtype), ": the tensor cannot have one"));
  }
  WDELTA_ASSIGN_OR_RETURN(correction.payload_crc32c, reader.ReadU32("factors' crc32c"));
  WDELTA_ASSIGN_OR_RETURN(correction.payload_xxh3, reader.ReadU64("factors' xxh3"));
  return correction;
}

absl::StatusOr<WdeltaStream> ParseStream(ByteReader& reader, uint64_t file_count) {
  WdeltaStream stream;
  TensorInfo& tensor = stream.info.tensor;
  WDELTA_ASSIGN_OR_RETURN(const uint8_t kind, reader.ReadU8("stream kind"));
  WDELTA_ASSIGN_OR_RETURN(stream.info.kind, ParseKind(kind));
  WDELTA_ASSIGN_OR_RETURN(stream.info.file_index, ReadIndex(reader, file_count, "file_index"));
  WDELTA_ASSIGN_OR_RETURN(const uint8_t dtype, reader.ReadU8("dtype"));
  const absl::StatusOr<DType> known_dtype = DTypeFromByte(dtype);
  if (!known_dtype.ok()) return UnsupportedWdelta(known_dtype.status().message());
  tensor.dtype = *known_dtype;
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view name,
                          reader.ReadSizedBytes(limits::kMaxTensorNameBytes, "tensor name"));
  tensor.name = std::string(name);
  WDELTA_ASSIGN_OR_RETURN(tensor.shape, ParseShape(reader));
  const absl::StatusOr<uint64_t> size = TensorBytes(tensor.dtype, tensor.shape);
  if (!size.ok()) return BadWdelta(size.status().message());
  tensor.size_bytes = *size;
  WDELTA_ASSIGN_OR_RETURN(const uint8_t flags,
                          ReadFlags(reader,
                                    format::kHasParentStreamFlag | format::kHasParentDTypeFlag |
                                        format::kHasCorrectionFlag,
                                    "stream flags"));
  if ((flags & format::kHasParentStreamFlag) != 0) {
    WDELTA_ASSIGN_OR_RETURN(stream.parent_stream,
                            ReadIndex(reader, limits::kMaxStreamsPerModel, "parent_stream"));
  }
  if ((flags & format::kHasParentDTypeFlag) != 0) {
    WDELTA_ASSIGN_OR_RETURN(const uint8_t parent_dtype, reader.ReadU8("parent_dtype"));
    const absl::StatusOr<DType> known = DTypeFromByte(parent_dtype);
    if (!known.ok()) return UnsupportedWdelta(known.status().message());
    stream.parent_dtype = *known;
  }
  if ((flags & format::kHasCorrectionFlag) != 0) {
    WDELTA_ASSIGN_OR_RETURN(stream.correction, ParseCorrection(reader, tensor));
  }
  WDELTA_ASSIGN_OR_RETURN(stream.sha256, ReadDigest(reader, "stream sha256"));
  return stream;
}

absl::Status ParseStreams(ByteReader& reader, WdeltaFile& file) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t count,
                          ReadCount(reader, limits::kMaxStreamsPerModel,
                                    format::kMinStreamRecordBytes, "stream count"));
  file.streams.reserve(count);
  uint64_t offset_bytes = 0;
  uint64_t first_chunk = 0;
  for (uint64_t i = 0; i < count; ++i) {
    absl::StatusOr<WdeltaStream> stream = ParseStream(reader, file.files.size());
    if (!stream.ok()) return Annotate(stream.status(), absl::StrCat("stream ", i));
    if (i == 0 || stream->info.file_index != file.streams.back().info.file_index) offset_bytes = 0;
    stream->info.tensor.offset_bytes = offset_bytes;
    stream->first_chunk = first_chunk;
    stream->chunk_count = ChunkCountOf(stream->info.tensor.size_bytes, file.chunk_bytes);
    WDELTA_ASSIGN_OR_RETURN(
        offset_bytes, CheckedAdd(offset_bytes, stream->info.tensor.size_bytes, "stream offset"));
    WDELTA_ASSIGN_OR_RETURN(first_chunk,
                            CheckedAdd(first_chunk, stream->chunk_count, "chunk count"));
    file.streams.push_back(*std::move(stream));
  }
  return absl::OkStatus();
}

// The offsets of all payloads, which lie back to back.
void PlacePayloads(WdeltaFile& file) {
  uint64_t offset = format::kPreambleBytes;
  auto stream = file.streams.begin();
  for (uint64_t i = 0; i < file.chunks.size(); ++i) {
    for (; stream != file.streams.end() && stream->first_chunk <= i; ++stream) {
      if (!stream->correction.has_value()) continue;
      stream->correction->payload_offset = offset;
      offset += *FactorBytes(stream->info.tensor, stream->correction->form);
    }
    file.chunks[i].payload_offset = offset;
    offset += file.chunks[i].payload_bytes;
  }
}

absl::Status ParseChunks(ByteReader& reader, WdeltaFile& file) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t count,
                          ReadCount(reader, limits::kMaxWdeltaMetadataBytes,
                                    format::kChunkRecordMinBytes, "chunk count"));
  file.chunks.resize(count);
  for (WdeltaChunk& chunk : file.chunks) {
    WDELTA_ASSIGN_OR_RETURN(const uint8_t byte, reader.ReadU8("chunk mode"));
    const absl::StatusOr<ChunkMode> mode = ChunkModeFromByte(byte);
    if (!mode.ok()) return UnsupportedWdelta(mode.status().message());
    chunk.mode = *mode;
  }
  for (WdeltaChunk& chunk : file.chunks) {
    WDELTA_ASSIGN_OR_RETURN(chunk.payload_bytes,
                            ReadIndex(reader, limits::kMaxChunkBytes + 1, "payload size"));
  }
  PlacePayloads(file);
  for (WdeltaChunk& chunk : file.chunks) {
    WDELTA_ASSIGN_OR_RETURN(chunk.payload_crc32c, reader.ReadU32("payload crc32c"));
  }
  for (WdeltaChunk& chunk : file.chunks) {
    WDELTA_ASSIGN_OR_RETURN(chunk.content_xxh3, reader.ReadU64("content xxh3"));
  }
  return absl::OkStatus();
}

struct Section {
  uint8_t tag;
  absl::string_view name;
  absl::Status (*parse)(ByteReader&, WdeltaFile&);
};
constexpr Section kSections[] = {
    {format::kHeaderTag, "header", ParseHeader},
    {format::kFilesTag, "files", ParseFiles},
    {format::kStreamsTag, "streams", ParseStreams},
    {format::kChunksTag, "chunks", ParseChunks},
};

// The body of the next section.
absl::StatusOr<absl::string_view> ReadSection(ByteReader& reader, const Section& section) {
  WDELTA_ASSIGN_OR_RETURN(const uint8_t tag, reader.ReadU8("section tag"));
  if (tag != section.tag) {
    return BadWdelta(
        absl::StrCat("section tag: expected ", section.tag, " (", section.name, "), found ", tag));
  }
  return reader.ReadSizedBytes(reader.remaining(), "section");
}

// All of `body` must be read by `parse`.
absl::Status ParseBody(absl::string_view name, absl::string_view body,
                       absl::Status (*parse)(ByteReader&, WdeltaFile&), WdeltaFile& file) {
  ByteReader reader(body);
  const absl::Status status = parse(reader, file);
  if (!status.ok()) return Annotate(status, absl::StrCat("section ", name));
  if (reader.remaining() == 0) return absl::OkStatus();
  return BadWdelta(absl::StrCat("section ", name, ": expected ", reader.offset(), " bytes, found ",
                                body.size()));
}

absl::Status ParseOptionalSections(ByteReader& reader, WdeltaFile& file) {
  while (reader.remaining() > 0) {
    WDELTA_ASSIGN_OR_RETURN(const uint8_t tag, reader.ReadU8("section tag"));
    if (tag < kFirstOptionalTag) {
      return UnsupportedWdelta(
          absl::StrCat("section tag: expected ", kFirstOptionalTag, " or more, found ", tag));
    }
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view body,
                            reader.ReadSizedBytes(reader.remaining(), "section"));
    if (tag != format::kFidelityTag) continue;
    WDELTA_RETURN_IF_ERROR(ParseBody("fidelity", body, ParseFidelity, file));
  }
  return absl::OkStatus();
}

absl::Status ParseSections(absl::string_view bytes, WdeltaFile& file) {
  ByteReader reader(bytes);
  for (const Section& section : kSections) {
    WDELTA_ASSIGN_OR_RETURN(const absl::string_view body, ReadSection(reader, section));
    WDELTA_RETURN_IF_ERROR(ParseBody(section.name, body, section.parse, file));
  }
  return ParseOptionalSections(reader, file);
}

}  // namespace

absl::Status BadWdelta(absl::string_view message) {
  return MakeError(absl::StatusCode::kDataLoss, "BAD_WDELTA", message);
}

absl::Status UnsupportedWdelta(absl::string_view message) {
  return MakeError(absl::StatusCode::kUnimplemented, "UNSUPPORTED_WDELTA", message);
}

uint64_t ChunkCountOf(uint64_t size_bytes, uint64_t chunk_bytes) {
  return size_bytes / chunk_bytes + (size_bytes % chunk_bytes != 0 ? 1 : 0);
}

std::string DescribeStream(const WdeltaFile& file, uint64_t stream) {
  const StreamInfo& info = file.streams[stream].info;
  if (info.kind == StreamKind::kTensor) {
    return absl::StrCat("stream ", stream, " (`", absl::Utf8SafeCEscape(info.tensor.name), "`)");
  }
  const std::string path = info.file_index < file.files.size()
                               ? absl::StrCat(" of `", file.files[info.file_index].path, "`")
                               : "";
  return absl::StrCat("stream ", stream,
                      info.kind == StreamKind::kHeader ? " (header" : " (content", path, ")");
}

std::string SerializeMetadata(const WdeltaFile& file) {
  std::string out;
  AppendSection(out, format::kHeaderTag, SerializeHeader(file));
  AppendSection(out, format::kFilesTag, SerializeFiles(file));
  AppendSection(out, format::kStreamsTag, SerializeStreams(file));
  AppendSection(out, format::kChunksTag, SerializeChunks(file));
  if (file.fidelity.has_value()) {
    AppendSection(out, format::kFidelityTag, SerializeFidelity(*file.fidelity));
  }
  return out;
}

absl::StatusOr<WdeltaFile> ParseMetadata(absl::string_view bytes) {
  WdeltaFile file;
  const absl::Status status = ParseSections(bytes, file);
  if (status.ok()) return file;
  // Errors of the base library carry no reason.
  if (ErrorReason(status).empty()) return BadWdelta(status.message());
  return status;
}

}  // namespace wdelta

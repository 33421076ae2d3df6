#include "storage/wdelta/wdelta_reader.h"

#include <zstd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/byte_reader.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/wdelta/format.h"
#include "storage/wdelta/metadata.h"

namespace wdelta {
namespace {

struct Footer {
  uint64_t metadata_offset = 0;
  uint64_t stored_bytes = 0;
  uint64_t metadata_bytes = 0;
  uint32_t metadata_crc32c = 0;
  Digest digest;
};

bool IsZeros(absl::string_view bytes) {
  return bytes.find_first_not_of('\0') == absl::string_view::npos;
}

absl::StatusOr<std::string> ReadRange(const RandomAccessFile& file, uint64_t offset,
                                      uint64_t size) {
  std::string bytes(size, '\0');
  if (size != 0) WDELTA_RETURN_IF_ERROR(file.Read(offset, bytes.data(), size));
  return bytes;
}

absl::Status CheckVersion(uint32_t version) {
  if (version == kWdeltaVersion) return absl::OkStatus();
  if (version == format::kDeltatensorsVersion) {
    return UnsupportedWdelta(
        "version: expected 2, found 1: a file of deltatensors, whose format is another");
  }
  return UnsupportedWdelta(absl::StrCat("version: expected 2, found ", version));
}

// Says first what the file is, so that a foreign or truncated one is named as such.
absl::StatusOr<std::string> ReadPreamble(const RandomAccessFile& file, uint64_t file_bytes) {
  const uint64_t readable = std::min<uint64_t>(file_bytes, format::kPreambleBytes);
  WDELTA_ASSIGN_OR_RETURN(std::string preamble, ReadRange(file, 0, readable));
  ByteReader reader(preamble);
  const absl::StatusOr<absl::string_view> magic = reader.ReadBytes(format::kMagic.size(), "magic");
  if (!magic.ok() || *magic != format::kMagic) {
    return BadWdelta("magic at offset 0: expected `wdelta` and a zero byte: not a .wdelta file");
  }
  const absl::StatusOr<uint32_t> version = reader.ReadU32("version");
  if (!version.ok()) return BadWdelta(version.status().message());
  WDELTA_RETURN_IF_ERROR(CheckVersion(*version));
  const uint64_t least_bytes = format::kPreambleBytes + format::kFooterBytes;
  if (file_bytes < least_bytes) {
    return BadWdelta(
        absl::StrCat("file: expected at least ", least_bytes, " bytes, found ", file_bytes));
  }
  if (!IsZeros(absl::string_view(preamble).substr(reader.offset()))) {
    return BadWdelta(
        absl::StrCat("reserved bytes at offset ", reader.offset(), ": expected zeros"));
  }
  return preamble;
}

// BAD_WDELTA for a field of the footer, by its offset there.
absl::Status BadFooter(absl::string_view field, uint64_t offset, absl::string_view expected,
                       absl::string_view found) {
  return BadWdelta(absl::StrCat("footer: ", field, " at offset ", offset, ": expected ", expected,
                                ", found ", found));
}

absl::StatusOr<Footer> ParseFooter(absl::string_view bytes, uint64_t footer_offset) {
  const absl::string_view end_magic = bytes.substr(bytes.size() - format::kEndMagic.size());
  if (end_magic != format::kEndMagic) {
    return BadFooter("end magic", footer_offset + bytes.size() - format::kEndMagic.size(),
                     "that of a .wdelta file", "another: cut short or damaged");
  }
  Footer footer;
  ByteReader reader(bytes);
  WDELTA_ASSIGN_OR_RETURN(footer.metadata_offset, reader.ReadU64("metadata_offset"));
  WDELTA_ASSIGN_OR_RETURN(footer.stored_bytes, reader.ReadU64("metadata_stored_bytes"));
  WDELTA_ASSIGN_OR_RETURN(footer.metadata_bytes, reader.ReadU64("metadata_bytes"));
  WDELTA_ASSIGN_OR_RETURN(footer.metadata_crc32c, reader.ReadU32("metadata_crc32c"));
  WDELTA_ASSIGN_OR_RETURN(const uint32_t version, reader.ReadU32("version"));
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view digest, reader.ReadBytes(kDigestBytes, "digest"));
  WDELTA_ASSIGN_OR_RETURN(footer.digest, Digest::FromBytes(digest));
  const uint64_t reserved_offset = footer_offset + reader.offset();
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view reserved,
                          reader.ReadBytes(format::kFooterReservedBytes, "reserved"));
  if (version != kWdeltaVersion) {
    return BadFooter("version", footer_offset + 28, absl::StrCat(kWdeltaVersion),
                     absl::StrCat(version));
  }
  if (!IsZeros(reserved)) return BadFooter("reserved", reserved_offset, "zeros", "others");
  if (footer.metadata_offset < format::kPreambleBytes || footer.metadata_offset > footer_offset) {
    return BadFooter("metadata_offset", footer_offset,
                     absl::StrCat(format::kPreambleBytes, " to ", footer_offset),
                     absl::StrCat(footer.metadata_offset));
  }
  if (footer.stored_bytes != footer_offset - footer.metadata_offset ||
      footer.stored_bytes > limits::kMaxWdeltaMetadataBytes) {
    return BadFooter("metadata_stored_bytes", footer_offset + 8,
                     absl::StrCat(footer_offset - footer.metadata_offset, ", at most ",
                                  limits::kMaxWdeltaMetadataBytes),
                     absl::StrCat(footer.stored_bytes));
  }
  if (footer.metadata_bytes > limits::kMaxWdeltaMetadataBytes) {
    return BadFooter("metadata_bytes", footer_offset + 16,
                     absl::StrCat("at most ", limits::kMaxWdeltaMetadataBytes),
                     absl::StrCat(footer.metadata_bytes));
  }
  return footer;
}

// The stored metadata, its checksums verified.
absl::StatusOr<std::string> ReadStoredMetadata(const RandomAccessFile& file,
                                               absl::string_view preamble, const Footer& footer) {
  WDELTA_ASSIGN_OR_RETURN(std::string stored,
                          ReadRange(file, footer.metadata_offset, footer.stored_bytes));
  const uint32_t crc32c = Crc32c(stored);
  if (crc32c != footer.metadata_crc32c) {
    return BadWdelta(absl::StrCat("metadata at offset ", footer.metadata_offset,
                                  ": expected crc32c ", footer.metadata_crc32c, ", found ",
                                  crc32c));
  }
  Sha256Hasher hasher;
  hasher.Update(preamble);
  hasher.Update(stored);
  const Digest digest = hasher.Current();
  if (digest != footer.digest) {
    return BadWdelta(absl::StrCat("preamble and metadata: expected SHA-256 ", footer.digest.ToHex(),
                                  ", found ", digest.ToHex()));
  }
  return stored;
}

absl::StatusOr<std::string> DecompressMetadata(absl::string_view stored, uint64_t size) {
  const unsigned long long content = ZSTD_getFrameContentSize(stored.data(), stored.size());
  const bool is_declared = content != ZSTD_CONTENTSIZE_UNKNOWN && content != ZSTD_CONTENTSIZE_ERROR;
  if (ZSTD_findFrameCompressedSize(stored.data(), stored.size()) != stored.size() ||
      (is_declared && content != size)) {
    return BadWdelta(absl::StrCat("metadata: expected one zstd frame of ", size, " bytes"));
  }
  std::string metadata(size, '\0');
  const size_t found =
      ZSTD_decompress(metadata.data(), metadata.size(), stored.data(), stored.size());
  if (ZSTD_isError(found) || found != size) {
    return BadWdelta(
        absl::StrCat("metadata: expected ", size, " decompressed bytes, found ",
                     ZSTD_isError(found) ? ZSTD_getErrorName(found) : absl::StrCat(found).c_str()));
  }
  return metadata;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const WdeltaReader>> WdeltaReader::Open(
    std::shared_ptr<const RandomAccessFile> file) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t file_bytes, file->SizeBytes());
  WDELTA_ASSIGN_OR_RETURN(const std::string preamble, ReadPreamble(*file, file_bytes));
  const uint64_t footer_offset = file_bytes - format::kFooterBytes;
  WDELTA_ASSIGN_OR_RETURN(const std::string footer_bytes,
                          ReadRange(*file, footer_offset, format::kFooterBytes));
  WDELTA_ASSIGN_OR_RETURN(const Footer footer, ParseFooter(footer_bytes, footer_offset));

  WdeltaFile metadata;
  {
    WDELTA_ASSIGN_OR_RETURN(const std::string stored, ReadStoredMetadata(*file, preamble, footer));
    WDELTA_ASSIGN_OR_RETURN(const std::string bytes,
                            DecompressMetadata(stored, footer.metadata_bytes));
    WDELTA_ASSIGN_OR_RETURN(metadata, ParseMetadata(bytes));
  }
  WDELTA_RETURN_IF_ERROR(CheckConsistency(metadata, footer.metadata_offset));
  metadata.file_bytes = file_bytes;
  return std::shared_ptr<const WdeltaReader>(
      new WdeltaReader(std::move(file), std::move(metadata)));
}

absl::StatusOr<WdeltaReader::Located> WdeltaReader::Locate(uint32_t stream,
                                                           uint64_t index_in_stream) const {
  if (stream >= metadata_.streams.size() ||
      index_in_stream >= metadata_.streams[stream].chunk_count) {
    return absl::InvalidArgumentError(
        absl::StrCat("stream ", stream, " chunk ", index_in_stream, ": the file has none"));
  }
  const WdeltaStream& owner = metadata_.streams[stream];
  return Located{owner, metadata_.chunks[owner.first_chunk + index_in_stream]};
}

absl::StatusOr<std::string> WdeltaReader::ReadPayload(uint32_t stream,
                                                      uint64_t index_in_stream) const {
  std::string payload;
  WDELTA_RETURN_IF_ERROR(ReadPayloadInto(stream, index_in_stream, payload));
  return payload;
}

absl::Status WdeltaReader::ReadPayloadInto(uint32_t stream, uint64_t index_in_stream,
                                           std::string& payload) const {
  WDELTA_ASSIGN_OR_RETURN(const Located at, Locate(stream, index_in_stream));
  payload.resize(at.chunk.payload_bytes);
  if (!payload.empty()) {
    WDELTA_RETURN_IF_ERROR(source_->Read(at.chunk.payload_offset, payload.data(), payload.size()));
  }
  const uint32_t crc32c = Crc32c(payload);
  if (crc32c != at.chunk.payload_crc32c) {
    return BadWdelta(absl::StrCat(DescribeStream(metadata_, stream), " chunk ", index_in_stream,
                                  " at offset ", at.chunk.payload_offset,
                                  ": expected payload crc32c ", at.chunk.payload_crc32c, ", found ",
                                  crc32c));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> WdeltaReader::ReadFactors(uint32_t stream) const {
  if (stream >= metadata_.streams.size() || !metadata_.streams[stream].correction.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("stream ", stream, ": has no correction"));
  }
  const WdeltaStream& owner = metadata_.streams[stream];
  const WdeltaCorrection& correction = *owner.correction;
  WDELTA_ASSIGN_OR_RETURN(std::string factors,
                          ReadRange(*source_, correction.payload_offset,
                                    *FactorBytes(owner.info.tensor, correction.form)));
  const uint32_t crc32c = Crc32c(factors);
  const uint64_t xxh3 = Xxh3(factors);
  if (crc32c != correction.payload_crc32c || xxh3 != correction.payload_xxh3) {
    return BadWdelta(absl::StrCat(DescribeStream(metadata_, stream), " factors at offset ",
                                  correction.payload_offset, ": expected crc32c ",
                                  correction.payload_crc32c, " and xxh3 ", correction.payload_xxh3,
                                  ", found ", crc32c, " and ", xxh3));
  }
  return factors;
}

absl::Status WdeltaReader::DecodeChunk(ChunkCodec& codec, uint32_t stream, uint64_t index_in_stream,
                                       std::optional<absl::string_view> parent,
                                       char* destination) const {
  WDELTA_ASSIGN_OR_RETURN(const Located at, Locate(stream, index_in_stream));
  std::string& payload = codec.payload_buffer();
  WDELTA_RETURN_IF_ERROR(ReadPayloadInto(stream, index_in_stream, payload));
  const size_t size = SpanOfChunk(metadata_, at.stream, index_in_stream).size_bytes;
  if (!NeedsParent(at.chunk.mode)) parent.reset();
  const auto where = [&] {
    return absl::StrCat(DescribeStream(metadata_, stream), " chunk ", index_in_stream);
  };
  const absl::Status decoded = codec.Decode(LaneFormatOf(at.stream.info.tensor.dtype),
                                            at.chunk.mode, payload, parent, destination, size);
  if (absl::IsDataLoss(decoded)) {
    return BadWdelta(absl::StrCat(where(), ": ", decoded.message()));
  }
  if (!decoded.ok()) return Annotate(decoded, where());
  const uint64_t xxh3 = Xxh3(absl::string_view(destination, size));
  if (xxh3 != at.chunk.content_xxh3) {
    return BadWdelta(absl::StrCat(where(), ": expected content xxh3 ", at.chunk.content_xxh3,
                                  ", found ", xxh3,
                                  NeedsParent(at.chunk.mode) ? ": is it the right parent?" : ""));
  }
  return absl::OkStatus();
}

bool WdeltaReader::ChunkNeedsParent(uint32_t stream, uint64_t index_in_stream) const {
  const absl::StatusOr<Located> at = Locate(stream, index_in_stream);
  return at.ok() && NeedsParent(at->chunk.mode);
}

}  // namespace wdelta

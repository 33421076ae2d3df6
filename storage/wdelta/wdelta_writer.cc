#include "storage/wdelta/wdelta_writer.h"

#include <zstd.h>

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

constexpr int kMetadataZstdLevel = 3;

std::string Preamble() {
  std::string out(format::kMagic);
  AppendU32(out, kWdeltaVersion);
  out.append(format::kPreambleReservedBytes, '\0');
  return out;
}

absl::StatusOr<std::string> CompressMetadata(absl::string_view metadata) {
  if (metadata.size() > limits::kMaxWdeltaMetadataBytes) {
    return MakeError(absl::StatusCode::kResourceExhausted, "WDELTA_TOO_LARGE",
                     absl::StrCat("metadata: expected at most ", limits::kMaxWdeltaMetadataBytes,
                                  " bytes, found ", metadata.size()));
  }
  std::string stored(ZSTD_compressBound(metadata.size()), '\0');
  const size_t size = ZSTD_compress(stored.data(), stored.size(), metadata.data(), metadata.size(),
                                    kMetadataZstdLevel);
  if (ZSTD_isError(size)) {
    return absl::InternalError(absl::StrCat("zstd: ", ZSTD_getErrorName(size)));
  }
  stored.resize(size);
  return stored;
}

std::string Footer(uint64_t metadata_offset, absl::string_view stored, uint64_t metadata_bytes) {
  std::string out;
  AppendU64(out, metadata_offset);
  AppendU64(out, stored.size());
  AppendU64(out, metadata_bytes);
  AppendU32(out, Crc32c(stored));
  AppendU32(out, kWdeltaVersion);
  Sha256Hasher hasher;
  hasher.Update(Preamble());
  hasher.Update(stored);
  out += hasher.Current().ToBytes();
  out.append(format::kFooterReservedBytes, '\0');
  absl::StrAppend(&out, format::kEndMagic);
  return out;
}

}  // namespace

WdeltaWriter::WdeltaWriter(Sink sink, uint64_t chunk_bytes) : sink_(std::move(sink)) {
  file_.chunk_bytes = chunk_bytes;
}

absl::Status WdeltaWriter::Expect(State state, absl::string_view call) const {
  if (state_ == state) return absl::OkStatus();
  constexpr absl::string_view kStateNames[] = {"nothing", "whole streams", "an open stream",
                                               "the end or an error"};
  return absl::FailedPreconditionError(absl::StrCat("WdeltaWriter: ", call, " called after ",
                                                    kStateNames[static_cast<int>(state_)]));
}

absl::Status WdeltaWriter::Emit(absl::string_view bytes) {
  if (bytes.empty()) return absl::OkStatus();
  file_.file_bytes += bytes.size();
  absl::Status status = sink_(bytes);
  if (!status.ok()) state_ = State::kFinished;
  return status;
}

absl::Status WdeltaWriter::Begin() {
  WDELTA_RETURN_IF_ERROR(Expect(State::kNew, "Begin"));
  if (file_.chunk_bytes == 0 || file_.chunk_bytes > limits::kMaxChunkBytes ||
      file_.chunk_bytes % format::kChunkBytesMultiple != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("WdeltaWriter: chunk_bytes: expected a multiple of 8 up to ",
                     limits::kMaxChunkBytes, ", found ", file_.chunk_bytes));
  }
  state_ = State::kBetweenStreams;
  return Emit(Preamble());
}

absl::Status WdeltaWriter::BeginStream(const StreamInfo& info,
                                       std::optional<uint32_t> parent_stream,
                                       std::optional<DType> parent_dtype,
                                       const Correction* correction) {
  WDELTA_RETURN_IF_ERROR(Expect(State::kBetweenStreams, "BeginStream"));
  const absl::StatusOr<uint64_t> size = TensorBytes(info.tensor.dtype, info.tensor.shape);
  if (!size.ok() || *size != info.tensor.size_bytes) {
    return absl::FailedPreconditionError(absl::StrCat("WdeltaWriter: stream `", info.tensor.name,
                                                      "`: size ", info.tensor.size_bytes,
                                                      " does not match dtype and shape"));
  }
  WdeltaStream stream;
  stream.info = info;
  stream.parent_stream = parent_stream;
  stream.parent_dtype = parent_dtype;
  stream.first_chunk = file_.chunks.size();
  if (correction != nullptr) {
    if (FactorBytes(info.tensor, correction->form) != correction->factors.size()) {
      return absl::FailedPreconditionError(
          absl::StrCat("WdeltaWriter: stream `", info.tensor.name,
                       "`: the correction does not match dtype and shape"));
    }
    stream.correction = {correction->form, file_.file_bytes, Crc32c(correction->factors),
                         Xxh3(correction->factors)};
  }
  file_.streams.push_back(std::move(stream));
  state_ = State::kInStream;
  return correction == nullptr ? absl::OkStatus() : Emit(correction->factors);
}

absl::Status WdeltaWriter::AddChunk(const EncodedChunk& chunk, uint64_t content_xxh3) {
  WDELTA_RETURN_IF_ERROR(Expect(State::kInStream, "AddChunk"));
  WdeltaStream& stream = file_.streams.back();
  const auto refuse = [&](absl::string_view what) {
    return absl::FailedPreconditionError(
        absl::StrCat("WdeltaWriter: ", DescribeStream(file_, file_.streams.size() - 1), " chunk ",
                     stream.chunk_count, ": ", what));
  };
  if (stream.chunk_count == ChunkCountOf(stream.info.tensor.size_bytes, file_.chunk_bytes)) {
    return refuse("beyond the stream's size");
  }
  if (chunk.payload.size() > SpanOfChunk(file_, stream, stream.chunk_count).size_bytes) {
    return refuse("payload longer than the chunk");
  }
  if (NeedsParent(chunk.mode) && !stream.parent_stream.has_value()) {
    return refuse("needs a parent stream");
  }
  WdeltaChunk record;
  record.mode = chunk.mode;
  record.payload_offset = file_.file_bytes;
  record.payload_bytes = static_cast<uint32_t>(chunk.payload.size());
  record.payload_crc32c = Crc32c(chunk.payload);
  record.content_xxh3 = content_xxh3;
  file_.chunks.push_back(record);
  ++stream.chunk_count;
  return Emit(chunk.payload);
}

absl::Status WdeltaWriter::EndStream(const Digest& sha256) {
  WDELTA_RETURN_IF_ERROR(Expect(State::kInStream, "EndStream"));
  WdeltaStream& stream = file_.streams.back();
  const uint64_t expected = ChunkCountOf(stream.info.tensor.size_bytes, file_.chunk_bytes);
  if (stream.chunk_count != expected) {
    return absl::FailedPreconditionError(
        absl::StrCat("WdeltaWriter: ", DescribeStream(file_, file_.streams.size() - 1),
                     ": expected ", expected, " chunks, found ", stream.chunk_count));
  }
  stream.sha256 = sha256;
  state_ = State::kBetweenStreams;
  return absl::OkStatus();
}

absl::StatusOr<WdeltaFile> WdeltaWriter::Finish(std::vector<CheckpointFile> files,
                                                std::optional<Digest> parent_digest,
                                                std::optional<WdeltaFidelity> fidelity) {
  WDELTA_RETURN_IF_ERROR(Expect(State::kBetweenStreams, "Finish"));
  if (files.size() > limits::kMaxEntriesPerUpload ||
      file_.streams.size() > limits::kMaxStreamsPerModel) {
    return MakeError(absl::StatusCode::kResourceExhausted, "WDELTA_TOO_LARGE",
                     absl::StrCat("expected at most ", limits::kMaxEntriesPerUpload, " files and ",
                                  limits::kMaxStreamsPerModel, " streams, found ", files.size(),
                                  " and ", file_.streams.size()));
  }
  file_.model_digest = ModelDigest(files);
  file_.parent_digest = parent_digest;
  file_.files = std::move(files);
  file_.fidelity = std::move(fidelity);
  const uint64_t metadata_offset = file_.file_bytes;
  const absl::Status consistent = CheckConsistency(file_, metadata_offset);
  if (!consistent.ok()) {
    return absl::FailedPreconditionError(absl::StrCat("WdeltaWriter: ", consistent.message()));
  }
  const std::string metadata = SerializeMetadata(file_);
  WDELTA_ASSIGN_OR_RETURN(const std::string stored, CompressMetadata(metadata));
  WDELTA_RETURN_IF_ERROR(Emit(stored));
  WDELTA_RETURN_IF_ERROR(Emit(Footer(metadata_offset, stored, metadata.size())));
  state_ = State::kFinished;
  return std::move(file_);
}

}  // namespace wdelta

#include "storage/engine/uploads/revised_delta.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/codec/codec.h"
#include "storage/tensor/checkpoint.h"
#include "storage/wdelta/wdelta_writer.h"

namespace wdelta {
namespace {

class RevisedDelta {
 public:
  RevisedDelta(const WdeltaReader& stored, const std::vector<RevisedFile>& files,
               DeltaPieceWriter& pieces)
      : stored_(stored),
        old_(stored.file()),
        files_(files),
        pieces_(pieces),
        writer_([this](absl::string_view bytes) { return pieces_.Append(bytes); },
                old_.chunk_bytes) {
    if (old_.fidelity.has_value()) fidelity_ = {old_.fidelity->uploaded_digest, {}};
  }

  absl::StatusOr<WdeltaFile> Run() {
    WDELTA_RETURN_IF_ERROR(writer_.Begin());
    std::vector<CheckpointFile> described;
    for (uint32_t i = 0; i < files_.size(); ++i) {
      const RevisedFile& file = files_[i];
      described.push_back({file.path, file.size_bytes, file.sha256, IsSafetensorsPath(file.path)});
      WDELTA_RETURN_IF_ERROR(file.kept.has_value() ? Keep(i, *file.kept) : Code(i, file));
    }
    const bool lost_nothing =
        fidelity_.has_value() && fidelity_->uploaded_digest == old_.model_digest;
    if (lost_nothing) fidelity_->uploaded_digest = ModelDigest(described);
    WDELTA_ASSIGN_OR_RETURN(
        WdeltaFile written,
        writer_.Finish(std::move(described), old_.parent_digest, std::move(fidelity_)));
    WDELTA_RETURN_IF_ERROR(pieces_.Finish());
    return written;
  }

 private:
  absl::Status Keep(uint32_t file_index, uint32_t kept_index) {
    for (uint32_t i = 0; i < old_.streams.size(); ++i) {
      if (old_.streams[i].info.file_index != kept_index) continue;
      WDELTA_RETURN_IF_ERROR(KeepStream(file_index, i));
      NoteFidelity(i);
      ++stream_count_;
    }
    return absl::OkStatus();
  }

  absl::Status KeepStream(uint32_t file_index, uint32_t kept_index) {
    const WdeltaStream& stream = old_.streams[kept_index];
    StreamInfo info = stream.info;
    info.file_index = file_index;
    std::optional<Correction> correction;
    if (stream.correction.has_value()) {
      correction.emplace().form = stream.correction->form;
      WDELTA_ASSIGN_OR_RETURN(correction->factors, stored_.ReadFactors(kept_index));
    }
    // Marked as the encoder does it, so that payloads are cut alike.
    WDELTA_RETURN_IF_ERROR(pieces_.Mark());
    WDELTA_RETURN_IF_ERROR(writer_.BeginStream(info, stream.parent_stream, stream.parent_dtype,
                                               correction.has_value() ? &*correction : nullptr));
    for (uint64_t i = 0; i < stream.chunk_count; ++i) {
      const WdeltaChunk& chunk = old_.chunks[stream.first_chunk + i];
      EncodedChunk encoded{chunk.mode, {}};
      WDELTA_ASSIGN_OR_RETURN(encoded.payload, stored_.ReadPayload(kept_index, i));
      WDELTA_RETURN_IF_ERROR(writer_.AddChunk(encoded, chunk.content_xxh3));
    }
    WDELTA_RETURN_IF_ERROR(writer_.EndStream(stream.sha256));
    return pieces_.Mark();
  }

  void NoteFidelity(uint32_t kept_index) {
    if (!fidelity_.has_value()) return;
    for (const WdeltaStreamFidelity& noted : old_.fidelity->streams) {
      if (noted.stream != kept_index) continue;
      fidelity_->streams.push_back(noted);
      fidelity_->streams.back().stream = stream_count_;
    }
  }

  absl::Status Code(uint32_t file_index, const RevisedFile& file) {
    std::vector<StreamInfo> streams;
    AppendStreams(file_index, file.size_bytes, nullptr, streams);
    const auto content = file.open_content();
    if (!content.ok()) return Annotate(content.status(), file.path);
    WDELTA_RETURN_IF_ERROR(pieces_.Mark());
    WDELTA_RETURN_IF_ERROR(writer_.BeginStream(streams[0], std::nullopt));
    Sha256Hasher hasher;
    std::string bytes;
    for (uint64_t offset = 0; offset < file.size_bytes; offset += bytes.size()) {
      bytes.resize(std::min(old_.chunk_bytes, file.size_bytes - offset));
      WDELTA_RETURN_IF_ERROR(
          Annotate((*content)->Read(offset, bytes.data(), bytes.size()), file.path));
      hasher.Update(bytes);
      WDELTA_ASSIGN_OR_RETURN(const EncodedChunk encoded,
                              codec_.Encode(LaneFormatOf(DType::kU8), bytes, std::nullopt));
      WDELTA_RETURN_IF_ERROR(writer_.AddChunk(encoded, Xxh3(bytes)));
    }
    if (hasher.Current() != file.sha256) {
      return MakeError(absl::StatusCode::kDataLoss, "DIGEST_MISMATCH",
                       absl::StrCat(file.path, ": expected SHA-256 ", file.sha256.ToHex(),
                                    ", found ", hasher.Current().ToHex()),
                       {{"file", file.path}});
    }
    ++stream_count_;
    WDELTA_RETURN_IF_ERROR(writer_.EndStream(file.sha256));
    return pieces_.Mark();
  }

  const WdeltaReader& stored_;
  const WdeltaFile& old_;
  const std::vector<RevisedFile>& files_;
  DeltaPieceWriter& pieces_;
  WdeltaWriter writer_;
  ChunkCodec codec_;
  uint32_t stream_count_ = 0;  // written
  std::optional<WdeltaFidelity> fidelity_;
};

}  // namespace

absl::StatusOr<WdeltaFile> WriteRevisedDelta(const WdeltaReader& stored,
                                             const std::vector<RevisedFile>& files,
                                             DeltaPieceWriter& pieces) {
  return RevisedDelta(stored, files, pieces).Run();
}

uint64_t NewBytesOf(const WdeltaFile& stored, const std::vector<RevisedFile>& files) {
  uint64_t bytes = stored.file_bytes;
  for (const WdeltaStream& stream : stored.streams) {
    const uint64_t payload_bytes = PayloadBytesOf(stored, stream);
    if (payload_bytes >= limits::kMinSharedPayloadBytes) bytes -= payload_bytes;
  }
  for (const RevisedFile& file : files) {
    if (!file.kept.has_value()) bytes += file.size_bytes;
  }
  return bytes;
}

}  // namespace wdelta

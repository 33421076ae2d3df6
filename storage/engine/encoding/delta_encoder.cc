#include "storage/engine/encoding/delta_encoder.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/content/ordered_tasks.h"
#include "storage/engine/encoding/chunk_encoder.h"
#include "storage/engine/encoding/chunk_input.h"
#include "storage/engine/encoding/low_rank/correction_choice.h"
#include "storage/engine/encoding/low_rank/rank_tests.h"

namespace wdelta {
namespace {

// Of those that were read from the stream's first on, null where it is none of them.
ReadChunk* ChunkOf(std::vector<ReadChunk>* chunks, const ChunkRef& at) {
  const uint64_t index = at.offset / limits::kChunkBytes;
  return chunks != nullptr && index < chunks->size() ? &(*chunks)[index] : nullptr;
}

class DeltaEncoder {
 public:
  DeltaEncoder(const DeltaEncoderInput& input, ThreadPool* pool, WdeltaWriter::Sink sink)
      : input_(input),
        pool_(pool),
        chunks_(input),
        writer_(std::move(sink), limits::kChunkBytes),
        files_(input.target->checkpoint().files),
        is_lossy_file_(files_.size(), false),
        tasks_(pool, [this](ChunkResult& result) { return Write(result); }),
        rank_tests_(input, chunks_, pool) {
    NoteLossyStreams();
  }

  absl::StatusOr<WdeltaFile> Run() {
    WDELTA_RETURN_IF_ERROR(writer_.Begin());
    const std::vector<StreamInfo>& streams = Target().streams;
    for (uint32_t i = 0; i < streams.size(); ++i) {
      WDELTA_ASSIGN_OR_RETURN(const RankTests::Outcome test, rank_tests_.Take(i));
      CorrectionPtr correction = test.correction;
      if (test.matrix.has_value()) {
        WDELTA_ASSIGN_OR_RETURN(correction, CorrectionOf(*test.matrix));
      }
      // An empty stream still has its place in the order of results.
      for (const ChunkRef& chunk : ChunksOfStream(i, streams[i].tensor.size_bytes)) {
        WDELTA_RETURN_IF_ERROR(
            tasks_.Start([this, chunk, correction, chunks = test.chunks](ChunkResult& result) {
              return chunks_.Encode(chunk, correction, ChunkOf(chunks.get(), chunk), result);
            }));
      }
    }
    WDELTA_RETURN_IF_ERROR(tasks_.Finish());
    WDELTA_RETURN_IF_ERROR(EndFile(streams.empty() ? 0 : streams.back().file_index));
    return writer_.Finish(std::move(files_), chunks_.parent_digest(), std::move(fidelity_));
  }

 private:
  const Checkpoint& Target() const { return input_.target->checkpoint(); }

  void NoteLossyStreams() {
    if (const auto stored = input_.target->stored()) fidelity_ = stored->file().fidelity;
    if (input_.lossy == nullptr || !input_.lossy->IsLossy()) return;
    fidelity_.emplace();
    fidelity_->uploaded_digest = ModelDigest(files_);
    for (const LossyStream& stream : input_.lossy->streams) {
      WdeltaStreamFidelity& noted = fidelity_->streams.emplace_back();
      noted.stream = stream.stream;
      noted.strategy = stream.params.strategy;
      noted.squared_delta = stream.tensor.moments.squared_delta;
      if (noted.strategy == Strategy::kLossless) continue;
      is_lossy_file_[Target().streams[stream.stream].file_index] = true;
    }
  }

  absl::StatusOr<CorrectionPtr> CorrectionOf(const DeltaMatrix& matrix) {
    const CorrectionSearch search{input_, chunks_, pool_, [this] { return input_.advance(0); },
                                  input_.effort != Effort::kFast};
    WDELTA_ASSIGN_OR_RETURN(MeasuredCorrection chosen, ChooseCorrection(search, matrix));
    return std::move(chosen.correction);
  }

  // In the caller's thread, in order.
  absl::Status Write(ChunkResult& result) {
    const ChunkRef& at = result.at;
    const StreamInfo& stream = Target().streams[at.stream];
    if (at.offset == 0) {
      WDELTA_RETURN_IF_ERROR(MarkPayload());
      WDELTA_RETURN_IF_ERROR(EnterFile(stream.file_index));
      WDELTA_RETURN_IF_ERROR(writer_.BeginStream(
          stream, input_.parent_streams[at.stream], ParentDTypeOf(input_, at.stream),
          result.correction == nullptr ? nullptr : &result.correction->correction));
      stream_hasher_ = Sha256Hasher();
    }
    if (at.size > 0) {
      stream_hasher_.Update(result.decoded());
      file_hasher_.Update(result.decoded());
      if (is_lossy_file_[stream.file_index]) uploaded_hasher_.Update(result.bytes);
      if (result.reconstructed.has_value()) NoteError(result);
      WDELTA_RETURN_IF_ERROR(writer_.AddChunk(result.encoded, result.content_xxh3));
    }
    if (at.offset + at.size == stream.tensor.size_bytes) {
      WDELTA_RETURN_IF_ERROR(writer_.EndStream(stream_hasher_.Current()));
      WDELTA_RETURN_IF_ERROR(MarkPayload());
    }
    return input_.advance(at.size);
  }

  absl::Status MarkPayload() {
    return input_.mark_payload == nullptr ? absl::OkStatus() : input_.mark_payload();
  }

  void NoteError(const ChunkResult& result) {
    std::vector<WdeltaStreamFidelity>& noted = fidelity_->streams;
    while (noted[next_noted_].stream != result.at.stream) ++next_noted_;
    WdeltaStreamFidelity& stream = noted[next_noted_];
    stream.squared_error += result.error.squared_delta;
    stream.max_absolute_error =
        std::max(stream.max_absolute_error, result.error.max_absolute_delta);
  }

  absl::Status EnterFile(uint32_t file_index) {
    if (file_index == current_file_) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(EndFile(current_file_));
    current_file_ = file_index;
    file_hasher_ = Sha256Hasher();
    uploaded_hasher_ = Sha256Hasher();
    return absl::OkStatus();
  }

  // Checks what was read, and takes the digest of what will be decoded.
  absl::Status EndFile(uint32_t file_index) {
    if (files_.empty()) return absl::OkStatus();
    const CheckpointFile& file = Target().files[file_index];
    const Digest found =
        is_lossy_file_[file_index] ? uploaded_hasher_.Current() : file_hasher_.Current();
    files_[file_index].sha256 = file_hasher_.Current();
    if (found == file.sha256) return absl::OkStatus();
    return MakeError(absl::StatusCode::kDataLoss, "DIGEST_MISMATCH",
                     absl::StrCat(file.path, ": expected SHA-256 ", file.sha256.ToHex(), ", found ",
                                  found.ToHex()),
                     {{"file", file.path}});
  }

  const DeltaEncoderInput& input_;
  ThreadPool* const pool_;
  ChunkEncoder chunks_;
  WdeltaWriter writer_;
  uint32_t current_file_ = 0;
  std::vector<CheckpointFile> files_;  // with the digests of what they decode to
  std::vector<bool> is_lossy_file_;
  std::optional<WdeltaFidelity> fidelity_;
  size_t next_noted_ = 0;  // in fidelity_->streams
  // Hashes of decoded bytes: of the stream, which a fetch of tensors reports, and of the
  // file. Where they are not what was read, what was read has its own.
  Sha256Hasher stream_hasher_;
  Sha256Hasher file_hasher_;
  Sha256Hasher uploaded_hasher_;
  // Last: its tasks refer to this object.
  OrderedTasks<ChunkResult> tasks_;
  // Ends first: what it breaks off takes longest.
  RankTests rank_tests_;
};

}  // namespace

absl::StatusOr<WdeltaFile> EncodeDelta(const DeltaEncoderInput& input, ThreadPool* pool,
                                       WdeltaWriter::Sink sink) {
  return DeltaEncoder(input, pool, std::move(sink)).Run();
}

absl::StatusOr<DeltaEstimate> EstimateDelta(const DeltaEncoderInput& input,
                                            const std::vector<WeightedChunk>& sample,
                                            ThreadPool* pool) {
  DeltaEstimate estimate;
  ChunkEncoder encoder(input);
  size_t next = 0;
  OrderedTasks<ChunkResult> tasks(pool, [&](ChunkResult& result) {
    const double weight = sample[next++].weight;
    const double payload_bytes = static_cast<double>(result.encoded.payload.size());
    estimate.payload_bytes += weight * payload_bytes;
    estimate.chunk_bytes.push_back(payload_bytes);
    estimate.needs.Add(result.encoded.mode, weight * static_cast<double>(result.at.size),
                       input.target->checkpoint().streams[result.at.stream].tensor.dtype,
                       ParentDTypeOf(input, result.at.stream), result.correction != nullptr);
    return input.advance(0);
  });
  for (const WeightedChunk& chunk : sample) {
    WDELTA_RETURN_IF_ERROR(tasks.Start([&encoder, at = chunk.chunk](ChunkResult& result) {
      return encoder.Encode(at, nullptr, nullptr, result);
    }));
  }
  WDELTA_RETURN_IF_ERROR(tasks.Finish());
  return estimate;
}

}  // namespace wdelta

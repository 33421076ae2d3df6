#include "storage/engine/delta_encoder.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/chunk_input.h"
#include "storage/engine/codec_pool.h"
#include "storage/engine/ordered_tasks.h"
#include "storage/engine/storage_plan.h"

namespace wdelta {
namespace {

// One chunk, read and encoded in a pool thread.
struct ChunkResult {
  ChunkRef at;
  std::string bytes;
  EncodedChunk encoded;
  uint64_t content_xxh3 = 0;  // of what it decodes to
  // Only of chunks coded with loss: what they decode to, and how far that is from `bytes`.
  std::optional<std::string> reconstructed;
  DeltaMoments error;

  absl::string_view decoded() const { return reconstructed.has_value() ? *reconstructed : bytes; }
};

// Of the parent's stream where its numbers are converted.
std::optional<DType> ParentDType(const DeltaEncoderInput& input, uint32_t stream) {
  if (!input.parent_streams[stream].has_value()) return std::nullopt;
  return ConvertedDType(input.target->checkpoint().streams[stream].tensor,
                        input.parent->checkpoint().streams[*input.parent_streams[stream]].tensor);
}

// Reads and encodes chunks; any thread.
class ChunkEncoder {
 public:
  explicit ChunkEncoder(const DeltaEncoderInput& input) : input_(input) {
    if (input.parent != nullptr) parent_digest_ = ModelDigest(input.parent->checkpoint().files);
  }

  const std::optional<Digest>& parent_digest() const { return parent_digest_; }

  absl::Status Encode(const ChunkRef& at, ChunkResult& result) {
    result.at = at;
    if (at.size == 0) return absl::OkStatus();
    result.bytes.resize(at.size);
    WDELTA_RETURN_IF_ERROR(input_.target->Read(at.stream, at.offset, at.size, result.bytes.data()));
    CodecPool::Lease worker = codecs_.Borrow();
    const TensorInfo& tensor = input_.target->checkpoint().streams[at.stream].tensor;
    WDELTA_ASSIGN_OR_RETURN(const std::optional<absl::string_view> parent,
                            ReadParentChunk(input_.parent.get(), input_.parent_streams[at.stream],
                                            tensor, at, worker->parent));
    const LossyStream* lossy = input_.lossy == nullptr ? nullptr : input_.lossy->Find(at.stream);
    if (lossy != nullptr && lossy->params.strategy != Strategy::kLossless) {
      return EncodeLossy(worker->codec, tensor, parent, lossy->params, result);
    }
    result.content_xxh3 = Xxh3(result.bytes);
    WDELTA_ASSIGN_OR_RETURN(result.encoded,
                            worker->codec.Encode(LaneFormatOf(tensor.dtype), result.bytes, parent,
                                                 input_.effort, GeometryOf(tensor, at.offset)));
    return TakeStoredIfSmaller(result);
  }

 private:
  static absl::Status EncodeLossy(ChunkCodec& codec, const TensorInfo& tensor,
                                  std::optional<absl::string_view> parent,
                                  const LossyParams& params, ChunkResult& result) {
    if (!parent.has_value()) return absl::InternalError("a lossy tensor without parent bytes");
    WDELTA_ASSIGN_OR_RETURN(LossyChunk chunk,
                            codec.EncodeLossy(tensor.dtype, GeometryOf(tensor, result.at.offset),
                                              result.bytes, *parent, params));
    WDELTA_ASSIGN_OR_RETURN(result.error,
                            MeasureDelta(tensor.dtype, chunk.reconstructed, result.bytes));
    result.encoded = std::move(chunk.chunk);
    result.content_xxh3 = Xxh3(chunk.reconstructed);
    result.reconstructed = std::move(chunk.reconstructed);
    return absl::OkStatus();
  }

  absl::Status TakeStoredIfSmaller(ChunkResult& result) const {
    const std::shared_ptr<const WdeltaReader> stored = input_.target->stored();
    if (stored == nullptr) return absl::OkStatus();
    const WdeltaFile& file = stored->file();
    if (file.chunk_bytes != limits::kChunkBytes) return absl::OkStatus();
    const WdeltaStream& stream = file.streams[result.at.stream];
    const uint64_t chunk_index = result.at.offset / limits::kChunkBytes;
    const WdeltaChunk& chunk = file.chunks[stream.first_chunk + chunk_index];
    const bool same_parent = file.parent_digest == parent_digest_ &&
                             stream.parent_stream == input_.parent_streams[result.at.stream] &&
                             stream.parent_dtype == ParentDType(input_, result.at.stream);
    if (NeedsParent(chunk.mode) && !same_parent) return absl::OkStatus();
    if (chunk.payload_bytes > result.encoded.payload.size()) return absl::OkStatus();
    WDELTA_ASSIGN_OR_RETURN(result.encoded.payload,
                            stored->ReadPayload(result.at.stream, chunk_index));
    result.encoded.mode = chunk.mode;
    return absl::OkStatus();
  }

  const DeltaEncoderInput& input_;
  std::optional<Digest> parent_digest_;
  CodecPool codecs_;
};

class DeltaEncoder {
 public:
  DeltaEncoder(const DeltaEncoderInput& input, ThreadPool* pool, WdeltaWriter::Sink sink)
      : input_(input),
        chunks_(input),
        writer_(std::move(sink), limits::kChunkBytes),
        files_(input.target->checkpoint().files),
        is_lossy_file_(files_.size(), false),
        tasks_(pool, [this](ChunkResult& result) { return Write(result); }) {
    NoteLossyStreams();
  }

  absl::StatusOr<WdeltaFile> Run() {
    WDELTA_RETURN_IF_ERROR(writer_.Begin());
    const std::vector<StreamInfo>& streams = Target().streams;
    for (uint32_t i = 0; i < streams.size(); ++i) {
      // An empty stream still has its place in the order of results.
      for (const ChunkRef& chunk : ChunksOfStream(i, streams[i].tensor.size_bytes)) {
        WDELTA_RETURN_IF_ERROR(tasks_.Start(
            [this, chunk](ChunkResult& result) { return chunks_.Encode(chunk, result); }));
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

  // In the caller's thread, in order.
  absl::Status Write(const ChunkResult& result) {
    const ChunkRef& at = result.at;
    const StreamInfo& stream = Target().streams[at.stream];
    if (at.offset == 0) {
      WDELTA_RETURN_IF_ERROR(MarkPayload());
      WDELTA_RETURN_IF_ERROR(EnterFile(stream.file_index));
      WDELTA_RETURN_IF_ERROR(writer_.BeginStream(stream, input_.parent_streams[at.stream],
                                                 ParentDType(input_, at.stream)));
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
                       ParentDType(input, result.at.stream));
    return input.advance(0);
  });
  for (const WeightedChunk& chunk : sample) {
    WDELTA_RETURN_IF_ERROR(tasks.Start(
        [&encoder, at = chunk.chunk](ChunkResult& result) { return encoder.Encode(at, result); }));
  }
  WDELTA_RETURN_IF_ERROR(tasks.Finish());
  return estimate;
}

}  // namespace wdelta

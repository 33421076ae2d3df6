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

namespace wdelta {
namespace {

// One chunk, read and encoded in a pool thread.
struct ChunkResult {
  ChunkRef at;
  std::string bytes;
  EncodedChunk encoded;
  uint64_t content_xxh3 = 0;
};

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
    result.content_xxh3 = Xxh3(result.bytes);
    CodecPool::Lease worker = codecs_.Borrow();
    WDELTA_ASSIGN_OR_RETURN(
        const std::optional<absl::string_view> parent,
        ReadParentChunk(input_.parent.get(), input_.parent_streams[at.stream], at, worker->parent));
    const TensorInfo& tensor = input_.target->checkpoint().streams[at.stream].tensor;
    WDELTA_ASSIGN_OR_RETURN(
        result.encoded,
        worker->codec.Encode(LaneFormatOf(tensor.dtype), result.bytes, parent, input_.effort));
    return TakeStoredIfSmaller(result);
  }

 private:
  absl::Status TakeStoredIfSmaller(ChunkResult& result) const {
    const std::shared_ptr<const WdeltaReader> stored = input_.target->stored();
    if (stored == nullptr) return absl::OkStatus();
    const WdeltaFile& file = stored->file();
    if (file.chunk_bytes != limits::kChunkBytes) return absl::OkStatus();
    const WdeltaStream& stream = file.streams[result.at.stream];
    const uint64_t chunk_index = result.at.offset / limits::kChunkBytes;
    const WdeltaChunk& chunk = file.chunks[stream.first_chunk + chunk_index];
    const bool same_parent = file.parent_digest == parent_digest_ &&
                             stream.parent_stream == input_.parent_streams[result.at.stream];
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
        tasks_(pool, [this](ChunkResult& result) { return Write(result); }) {}

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
    WDELTA_RETURN_IF_ERROR(CheckFileDigest(streams.empty() ? 0 : streams.back().file_index));
    std::optional<WdeltaFidelity> fidelity;
    if (const auto stored = input_.target->stored()) fidelity = stored->file().fidelity;
    return writer_.Finish(Target().files, chunks_.parent_digest(), std::move(fidelity));
  }

 private:
  const Checkpoint& Target() const { return input_.target->checkpoint(); }

  // In the caller's thread, in order.
  absl::Status Write(const ChunkResult& result) {
    const ChunkRef& at = result.at;
    const StreamInfo& stream = Target().streams[at.stream];
    if (at.offset == 0) {
      WDELTA_RETURN_IF_ERROR(EnterFile(stream.file_index));
      WDELTA_RETURN_IF_ERROR(writer_.BeginStream(stream, input_.parent_streams[at.stream]));
      stream_hasher_ = Sha256Hasher();
    }
    if (at.size > 0) {
      stream_hasher_.Update(result.bytes);
      file_hasher_.Update(result.bytes);
      WDELTA_RETURN_IF_ERROR(writer_.AddChunk(result.encoded, result.content_xxh3));
    }
    if (at.offset + at.size == stream.tensor.size_bytes) {
      WDELTA_RETURN_IF_ERROR(writer_.EndStream(stream_hasher_.Current()));
    }
    return input_.advance(at.size);
  }

  absl::Status EnterFile(uint32_t file_index) {
    if (file_index == current_file_) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(CheckFileDigest(current_file_));
    current_file_ = file_index;
    file_hasher_ = Sha256Hasher();
    return absl::OkStatus();
  }

  absl::Status CheckFileDigest(uint32_t file_index) {
    if (Target().files.empty()) return absl::OkStatus();
    const CheckpointFile& file = Target().files[file_index];
    const Digest found = file_hasher_.Current();
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
  // Two hashes of the same bytes: of the stream, which a fetch of tensors reports,
  // and of the file, which was promised.
  Sha256Hasher stream_hasher_;
  Sha256Hasher file_hasher_;
  // Last: its tasks refer to this object.
  OrderedTasks<ChunkResult> tasks_;
};

}  // namespace

absl::StatusOr<WdeltaFile> EncodeDelta(const DeltaEncoderInput& input, ThreadPool* pool,
                                       WdeltaWriter::Sink sink) {
  return DeltaEncoder(input, pool, std::move(sink)).Run();
}

absl::StatusOr<uint64_t> EstimateDeltaBytes(const DeltaEncoderInput& input, ThreadPool* pool) {
  const std::vector<StreamInfo>& streams = input.target->checkpoint().streams;
  double estimate = 0;
  std::vector<double> weights(streams.size());
  ChunkEncoder encoder(input);
  OrderedTasks<ChunkResult> tasks(pool, [&](ChunkResult& result) {
    estimate += weights[result.at.stream] * static_cast<double>(result.encoded.payload.size());
    return input.advance(0);
  });
  for (uint32_t i = 0; i < streams.size(); ++i) {
    const ChunkSample sample = SampleOfStream(i, streams[i].tensor.size_bytes);
    weights[i] = sample.weight;
    for (const ChunkRef& chunk : sample.chunks) {
      WDELTA_RETURN_IF_ERROR(tasks.Start(
          [&encoder, chunk](ChunkResult& result) { return encoder.Encode(chunk, result); }));
    }
  }
  WDELTA_RETURN_IF_ERROR(tasks.Finish());
  return static_cast<uint64_t>(estimate);
}

}  // namespace wdelta

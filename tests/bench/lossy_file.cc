#include "tests/bench/lossy_file.h"

#include <time.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/synchronization/blocking_counter.h"
#include "storage/base/checksum.h"
#include "storage/base/file_system.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/codec_pool.h"
#include "storage/engine/storage_plan.h"
#include "storage/wdelta/wdelta_writer.h"
#include "tests/bench/folder_source.h"

namespace wdelta::bench {
namespace {

double ThreadSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// One stream of the target and what becomes of it.
struct Stream {
  StreamInfo info;
  std::optional<uint32_t> parent_stream;
  std::string target;
  std::string parent;
  bool is_lossy = false;
  std::vector<EncodedChunk> chunks;
  std::string reconstructed;
  LossyOutcome outcome;
  double encode_seconds = 0;
};

class LossyEncoder {
 public:
  LossyEncoder(const TensorPolicy& policy, Effort effort, ThreadPool* pool)
      : policy_(policy), effort_(effort), pool_(pool) {}

  absl::Status Load(const std::string& parent_folder, const std::string& target_folder) {
    WDELTA_ASSIGN_OR_RETURN(parent_, OpenFolder(parent_folder));
    WDELTA_ASSIGN_OR_RETURN(target_, OpenFolder(target_folder));
    const auto matches = MatchStreams(target_->checkpoint(), parent_->checkpoint());
    streams_.resize(matches.size());
    return ForEach([&](uint32_t i, ChunkCodec&) -> absl::Status {
      Stream& stream = streams_[i];
      stream.info = target_->checkpoint().streams[i];
      stream.parent_stream = matches[i];
      stream.target.resize(stream.info.tensor.size_bytes);
      WDELTA_RETURN_IF_ERROR(target_->Read(i, 0, stream.target.size(), stream.target.data()));
      if (!matches[i].has_value()) return absl::OkStatus();
      const TensorInfo& parent = parent_->checkpoint().streams[*matches[i]].tensor;
      stream.parent.resize(parent.size_bytes);
      WDELTA_RETURN_IF_ERROR(
          parent_->Read(*matches[i], 0, stream.parent.size(), stream.parent.data()));
      stream.is_lossy =
          stream.info.kind == StreamKind::kTensor && stream.info.tensor.shape.size() >= 2 &&
          CanBeLossy(stream.info.tensor.dtype) && parent.shape == stream.info.tensor.shape;
      return absl::OkStatus();
    });
  }

  absl::StatusOr<LossyFile> Save(const std::string& path) {
    const Work encode = [&](uint32_t i, ChunkCodec& codec) {
      return streams_[i].is_lossy ? absl::OkStatus() : EncodeLossless(codec, streams_[i]);
    };
    WDELTA_RETURN_IF_ERROR(ForEach(encode));
    WDELTA_RETURN_IF_ERROR(EncodeLossyTensors());
    return Write(path);
  }

 private:
  using Work = std::function<absl::Status(uint32_t, ChunkCodec&)>;

  // Calls `work` for every stream, in the pool.
  absl::Status ForEach(const Work& work) {
    std::vector<absl::Status> statuses(streams_.size());
    absl::BlockingCounter left(static_cast<int>(streams_.size()));
    for (uint32_t i = 0; i < streams_.size(); ++i) {
      pool_->Schedule([&, i] {
        statuses[i] = [&] {
          CodecPool::Lease worker = codecs_.Borrow();
          return work(i, worker->codec);
        }();
        left.DecrementCount();  // from here on, nothing of this object may be touched
      });
    }
    left.Wait();
    for (const absl::Status& status : statuses) WDELTA_RETURN_IF_ERROR(status);
    return absl::OkStatus();
  }

  static absl::string_view Chunk(const std::string& bytes, size_t at) {
    return absl::string_view(bytes).substr(std::min(at, bytes.size()), limits::kChunkBytes);
  }

  absl::Status EncodeLossless(ChunkCodec& codec, Stream& stream) {
    const LaneFormat format = LaneFormatOf(stream.info.tensor.dtype);
    stream.chunks.clear();
    stream.reconstructed = stream.target;
    for (size_t at = 0; at < stream.target.size(); at += limits::kChunkBytes) {
      std::optional<absl::string_view> parent;
      const absl::string_view target = Chunk(stream.target, at);
      if (at < stream.parent.size()) parent = Chunk(stream.parent, at).substr(0, target.size());
      WDELTA_ASSIGN_OR_RETURN(EncodedChunk chunk, codec.Encode(format, target, parent));
      stream.chunks.push_back(std::move(chunk));
    }
    return absl::OkStatus();
  }

  absl::Status EncodeLossy(ChunkCodec& codec, Stream& stream, const LossyParams& params) {
    const TensorInfo& tensor = stream.info.tensor;
    const uint64_t weight_bytes = BitsPerElement(tensor.dtype) / 8;
    stream.chunks.clear();
    stream.reconstructed.clear();
    stream.outcome = LossyOutcome();
    const double start = ThreadSeconds();
    for (size_t at = 0; at < stream.target.size(); at += limits::kChunkBytes) {
      const ChunkGeometry geometry{tensor.shape.back(), at / weight_bytes};
      WDELTA_ASSIGN_OR_RETURN(LossyChunk chunk,
                              codec.EncodeLossy(tensor.dtype, geometry, Chunk(stream.target, at),
                                                Chunk(stream.parent, at), params));
      stream.outcome.Add(chunk.outcome);
      stream.chunks.push_back(std::move(chunk.chunk));
      stream.reconstructed += chunk.reconstructed;
    }
    stream.encode_seconds = ThreadSeconds() - start;
    return absl::OkStatus();
  }

  // What the planner must know of a tensor; lossless_bits from its first chunk.
  absl::StatusOr<LossyTensor> Describe(ChunkCodec& codec, const Stream& stream) const {
    LossyTensor tensor;
    tensor.dtype = stream.info.tensor.dtype;
    tensor.policy = policy_;
    for (size_t at = 0; at < stream.target.size(); at += limits::kChunkBytes) {
      WDELTA_ASSIGN_OR_RETURN(
          const DeltaMoments moments,
          MeasureDelta(tensor.dtype, Chunk(stream.target, at), Chunk(stream.parent, at)));
      tensor.moments.Add(moments);
    }
    const absl::string_view sample = Chunk(stream.target, 0);
    WDELTA_ASSIGN_OR_RETURN(
        const EncodedChunk chunk,
        codec.Encode(LaneFormatOf(tensor.dtype), sample, Chunk(stream.parent, 0)));
    tensor.lossless_bits = 8.0 * static_cast<double>(chunk.payload.size()) *
                           static_cast<double>(stream.target.size()) /
                           static_cast<double>(sample.size());
    return tensor;
  }

  // Plans and encodes until the planner is content; the last encoding is kept.
  absl::Status EncodeLossyTensors() {
    std::vector<uint32_t> slots(streams_.size(), 0);  // by stream, in the planner's order
    uint32_t count = 0;
    for (uint32_t i = 0; i < streams_.size(); ++i) {
      if (streams_[i].is_lossy) slots[i] = count++;
    }
    std::vector<LossyTensor> tensors(count);
    const Work describe = [&](uint32_t i, ChunkCodec& codec) -> absl::Status {
      if (!streams_[i].is_lossy) return absl::OkStatus();
      WDELTA_ASSIGN_OR_RETURN(tensors[slots[i]], Describe(codec, streams_[i]));
      return absl::OkStatus();
    };
    WDELTA_RETURN_IF_ERROR(ForEach(describe));
    LossyPlanner planner(std::move(tensors), effort_);
    std::vector<LossyOutcome> outcomes(count);
    const Work encode = [&](uint32_t i, ChunkCodec& codec) -> absl::Status {
      if (!streams_[i].is_lossy) return absl::OkStatus();
      WDELTA_RETURN_IF_ERROR(EncodeLossy(codec, streams_[i], planner.params()[slots[i]]));
      outcomes[slots[i]] = streams_[i].outcome;
      return absl::OkStatus();
    };
    for (bool again = true; again;) {
      WDELTA_RETURN_IF_ERROR(ForEach(encode));
      WDELTA_ASSIGN_OR_RETURN(again, planner.Refine(outcomes));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<LossyFile> Write(const std::string& path) {
    WDELTA_ASSIGN_OR_RETURN(const auto out, NewPosixFileSystem()->OpenForAppend(path, 0));
    WdeltaWriter writer([&](absl::string_view bytes) { return out->Append(bytes); },
                        limits::kChunkBytes);
    std::vector<CheckpointFile> files = target_->checkpoint().files;
    std::vector<Sha256Hasher> hashers(files.size());
    LossyFile result;
    double seconds = 0;
    uint64_t lossy_bytes = 0;
    WDELTA_RETURN_IF_ERROR(writer.Begin());
    for (const Stream& stream : streams_) {
      WDELTA_RETURN_IF_ERROR(writer.BeginStream(stream.info, stream.parent_stream));
      for (size_t c = 0; c < stream.chunks.size(); ++c) {
        WDELTA_RETURN_IF_ERROR(writer.AddChunk(
            stream.chunks[c], Xxh3(Chunk(stream.reconstructed, c * limits::kChunkBytes))));
      }
      WDELTA_RETURN_IF_ERROR(writer.EndStream(Digest::Of(stream.reconstructed)));
      hashers[stream.info.file_index].Update(stream.reconstructed);
      if (!stream.is_lossy) continue;
      result.outcome.Add(stream.outcome);
      seconds += stream.encode_seconds;
      lossy_bytes += stream.target.size();
    }
    for (size_t f = 0; f < files.size(); ++f) files[f].sha256 = hashers[f].Current();
    WDELTA_ASSIGN_OR_RETURN(
        const WdeltaFile file,
        writer.Finish(std::move(files), ModelDigest(parent_->checkpoint().files)));
    result.file_bytes = file.file_bytes;
    if (seconds > 0) result.coder_gb_per_s = static_cast<double>(lossy_bytes) / 1e9 / seconds;
    return result;
  }

  const TensorPolicy policy_;
  const Effort effort_;
  ThreadPool* const pool_;
  CodecPool codecs_;
  ContentSourcePtr parent_;
  ContentSourcePtr target_;
  std::vector<Stream> streams_;
};

}  // namespace

absl::StatusOr<LossyFile> SaveLossyDelta(const std::string& parent_folder,
                                         const std::string& target_folder,
                                         const TensorPolicy& policy, Effort effort,
                                         const std::string& path, ThreadPool* pool) {
  LossyEncoder encoder(policy, effort, pool);
  WDELTA_RETURN_IF_ERROR(encoder.Load(parent_folder, target_folder));
  return encoder.Save(path);
}

}  // namespace wdelta::bench

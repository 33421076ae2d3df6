#include "storage/engine/delta_encoder.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

// One chunk on its way through the pool.
struct ChunkTask {
  uint32_t stream = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
  // Set by the pool before `done`.
  std::string bytes;
  EncodedChunk encoded;
  uint64_t content_xxh3 = 0;
  absl::Status status;
  absl::Notification done;
};

class DeltaEncoder {
 public:
  DeltaEncoder(const DeltaEncoderInput& input, ThreadPool* pool, WdeltaWriter::Sink sink)
      : input_(input),
        pool_(pool),
        writer_(std::move(sink), limits::kChunkBytes),
        window_(2 * static_cast<size_t>(pool->thread_count())) {}

  // Tasks refer to this object.
  ~DeltaEncoder() {
    for (const auto& task : tasks_) task->done.WaitForNotification();
  }

  absl::StatusOr<WdeltaFile> Run() {
    WDELTA_RETURN_IF_ERROR(writer_.Begin());
    const std::vector<StreamInfo>& streams = Target().streams;
    for (uint32_t i = 0; i < streams.size(); ++i) {
      const uint64_t size = streams[i].tensor.size_bytes;
      // An empty stream still has its place in the order of results.
      uint64_t offset = 0;
      do {
        const uint64_t chunk = std::min(size - offset, limits::kChunkBytes);
        WDELTA_RETURN_IF_ERROR(Start(i, offset, chunk));
        offset += chunk;
      } while (offset < size);
    }
    while (!tasks_.empty()) WDELTA_RETURN_IF_ERROR(WriteFront());
    WDELTA_RETURN_IF_ERROR(CheckFileDigest(streams.empty() ? 0 : streams.back().file_index));
    std::optional<Digest> parent_digest;
    if (input_.parent != nullptr) parent_digest = ModelDigest(input_.parent->checkpoint().files);
    return writer_.Finish(Target().files, parent_digest);
  }

 private:
  const Checkpoint& Target() const { return input_.target->checkpoint(); }

  absl::Status Start(uint32_t stream, uint64_t offset, uint64_t size) {
    if (tasks_.size() >= window_) WDELTA_RETURN_IF_ERROR(WriteFront());
    auto task = std::make_shared<ChunkTask>();
    task->stream = stream;
    task->offset = offset;
    task->size = size;
    tasks_.push_back(task);
    pool_->Schedule([this, task] {
      task->status = Encode(*task);
      task->done.Notify();
    });
    return absl::OkStatus();
  }

  // In a pool thread.
  absl::Status Encode(ChunkTask& task) {
    if (task.size == 0) return absl::OkStatus();
    task.bytes.resize(task.size);
    WDELTA_RETURN_IF_ERROR(
        input_.target->Read(task.stream, task.offset, task.size, task.bytes.data()));
    task.content_xxh3 = Xxh3(task.bytes);
    CodecPool::Lease worker = codecs_.Borrow();
    std::optional<absl::string_view> parent;
    if (const std::optional<uint32_t> match = input_.parent_streams[task.stream]) {
      const uint64_t parent_bytes = input_.parent->checkpoint().streams[*match].tensor.size_bytes;
      const uint64_t begin = std::min(task.offset, parent_bytes);
      worker->parent.resize(std::min(task.size, parent_bytes - begin));
      WDELTA_RETURN_IF_ERROR(
          input_.parent->Read(*match, begin, worker->parent.size(), worker->parent.data()));
      // A chunk wholly beyond the parent's end is coded alone.
      if (!worker->parent.empty()) parent = worker->parent;
    }
    const LaneFormat format = LaneFormatOf(Target().streams[task.stream].tensor.dtype);
    WDELTA_ASSIGN_OR_RETURN(task.encoded, worker->codec.Encode(format, task.bytes, parent));
    return absl::OkStatus();
  }

  // Takes the oldest chunk out of the window and appends it to the file.
  absl::Status WriteFront() {
    const std::shared_ptr<ChunkTask> task = tasks_.front();
    task->done.WaitForNotification();
    tasks_.pop_front();
    WDELTA_RETURN_IF_ERROR(task->status);
    const StreamInfo& stream = Target().streams[task->stream];
    if (task->offset == 0) {
      WDELTA_RETURN_IF_ERROR(EnterFile(stream.file_index));
      WDELTA_RETURN_IF_ERROR(writer_.BeginStream(stream, input_.parent_streams[task->stream]));
      stream_hasher_ = Sha256Hasher();
    }
    if (task->size > 0) {
      stream_hasher_.Update(task->bytes);
      file_hasher_.Update(task->bytes);
      WDELTA_RETURN_IF_ERROR(writer_.AddChunk(task->encoded, task->content_xxh3));
    }
    if (task->offset + task->size == stream.tensor.size_bytes) {
      WDELTA_RETURN_IF_ERROR(writer_.EndStream(stream_hasher_.Current()));
    }
    return input_.advance(task->size);
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
  ThreadPool* const pool_;
  WdeltaWriter writer_;
  const size_t window_;
  CodecPool codecs_;
  std::deque<std::shared_ptr<ChunkTask>> tasks_;
  uint32_t current_file_ = 0;
  // Two hashes of the same bytes: of the stream, which a fetch of tensors reports,
  // and of the file, which was promised.
  Sha256Hasher stream_hasher_;
  Sha256Hasher file_hasher_;
};

}  // namespace

absl::StatusOr<WdeltaFile> EncodeDelta(const DeltaEncoderInput& input, ThreadPool* pool,
                                       WdeltaWriter::Sink sink) {
  return DeltaEncoder(input, pool, std::move(sink)).Run();
}

}  // namespace wdelta

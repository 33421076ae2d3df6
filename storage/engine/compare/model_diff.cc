#include "storage/engine/compare/model_diff.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/ascii.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/content/ordered_tasks.h"
#include "storage/tensor/element_values.h"
#include "storage/wdelta/wdelta_reader.h"

namespace wdelta {
namespace {

// Streams of the tensors, in order of name, then of place.
std::vector<uint32_t> TensorsByName(const Checkpoint& checkpoint) {
  std::vector<uint32_t> tensors;
  for (uint32_t i = 0; i < checkpoint.streams.size(); ++i) {
    if (checkpoint.streams[i].kind == StreamKind::kTensor) tensors.push_back(i);
  }
  std::stable_sort(tensors.begin(), tensors.end(), [&](uint32_t left, uint32_t right) {
    return checkpoint.streams[left].tensor.name < checkpoint.streams[right].tensor.name;
  });
  return tensors;
}

const WdeltaFile* StoredFile(const ContentSource& source) {
  const auto stored = source.stored();
  return stored == nullptr ? nullptr : &stored->file();
}

// Whether chunk `index` of a stream is stored as the parent's own bytes.
bool IsSame(const WdeltaFile& file, uint32_t stream, uint64_t index) {
  const WdeltaStream& info = file.streams[stream];
  return info.parent_stream.has_value() && !info.parent_dtype.has_value() &&
         !info.correction.has_value() && index < info.chunk_count &&
         file.chunks[info.first_chunk + index].mode == ChunkMode::kSame;
}

class TensorsDiff {
 public:
  TensorsDiff(const DiffInput& input, ThreadPool* pool,
              const std::function<absl::Status(const TensorDiff&)>& take)
      : input_(input),
        take_(take),
        a_(*input.a),
        b_(*input.b),
        file_a_(StoredFile(a_)),
        file_b_(StoredFile(b_)),
        digest_a_(ModelDigest(a_.checkpoint().files)),
        digest_b_(ModelDigest(b_.checkpoint().files)),
        tasks_(pool, [this](ChunkResult& result) { return TakeChunk(result); }) {}

  absl::Status Run() {
    const std::vector<uint32_t> in_a = TensorsByName(a_.checkpoint());
    const std::vector<uint32_t> in_b = TensorsByName(b_.checkpoint());
    size_t i = 0;
    size_t j = 0;
    while (i < in_a.size() || j < in_b.size()) {
      const int order = i == in_a.size()   ? 1
                        : j == in_b.size() ? -1
                                           : InfoOfA(in_a[i]).name.compare(InfoOfB(in_b[j]).name);
      WDELTA_RETURN_IF_ERROR(input_.alive());
      if (order < 0) {
        WDELTA_RETURN_IF_ERROR(AddOnly(InfoOfA(in_a[i++]), DiffKind::kOnlyInA));
      } else if (order > 0) {
        WDELTA_RETURN_IF_ERROR(AddOnly(InfoOfB(in_b[j++]), DiffKind::kOnlyInB));
      } else {
        WDELTA_RETURN_IF_ERROR(AddPair(in_a[i++], in_b[j++]));
      }
    }
    return tasks_.Finish();
  }

 private:
  // A tensor whose chunks are being measured, or that waits for one before it.
  struct Pending {
    TensorDiff diff;
    uint64_t chunks_left = 0;
  };
  struct ChunkResult {
    Difference difference;
    bool is_equal = true;
  };

  const TensorInfo& InfoOfA(uint32_t stream) const {
    return a_.checkpoint().streams[stream].tensor;
  }
  const TensorInfo& InfoOfB(uint32_t stream) const {
    return b_.checkpoint().streams[stream].tensor;
  }

  absl::Status AddOnly(const TensorInfo& info, DiffKind change) {
    Pending pending;
    pending.diff.name = info.name;
    pending.diff.change = change;
    (change == DiffKind::kOnlyInA ? pending.diff.a : pending.diff.b) = info;
    pending_.push_back(std::move(pending));
    return GiveReady();
  }

  absl::Status AddPair(uint32_t stream_a, uint32_t stream_b) {
    const TensorInfo& a = InfoOfA(stream_a);
    const TensorInfo& b = InfoOfB(stream_b);
    Pending pending{{a.name, DiffKind::kUnchanged, a, b, {}}, 0};
    const auto sha256_a = a_.StreamDigest(stream_a);
    const bool has_equal_digest = sha256_a.has_value() && sha256_a == b_.StreamDigest(stream_b);
    if (a.dtype != b.dtype) {
      pending.diff.change = DiffKind::kDTypeChanged;
    } else if (a.shape != b.shape) {
      pending.diff.change = DiffKind::kShapeChanged;
    } else if (has_equal_digest) {
      if (HasNumbers(a.dtype)) {
        pending.diff.difference.weights = a.size_bytes / BytesPerNumber(a.dtype);
      }
    } else {
      pending.chunks_left = (a.size_bytes + limits::kChunkBytes - 1) / limits::kChunkBytes;
    }
    const uint64_t chunks = pending.chunks_left;
    pending_.push_back(std::move(pending));
    for (uint64_t chunk = 0; chunk < chunks; ++chunk) {
      WDELTA_RETURN_IF_ERROR(tasks_.Start([this, stream_a, stream_b, chunk](ChunkResult& result) {
        return Measure(stream_a, stream_b, chunk, result);
      }));
    }
    return GiveReady();
  }

  // In a pool thread.
  absl::Status Measure(uint32_t stream_a, uint32_t stream_b, uint64_t chunk,
                       ChunkResult& result) const {
    const TensorInfo& info = InfoOfA(stream_a);
    const uint64_t offset = chunk * limits::kChunkBytes;
    const size_t size = std::min(limits::kChunkBytes, info.size_bytes - offset);
    std::string a(size, '\0');
    WDELTA_RETURN_IF_ERROR(a_.Read(stream_a, offset, size, a.data()));
    if (AreStoredAsSame(stream_a, stream_b, chunk)) {
      WDELTA_ASSIGN_OR_RETURN(result.difference, MeasureDifference(info.dtype, a, a));
      return absl::OkStatus();
    }
    std::string b(size, '\0');
    WDELTA_RETURN_IF_ERROR(b_.Read(stream_b, offset, size, b.data()));
    result.is_equal = a == b;
    WDELTA_ASSIGN_OR_RETURN(result.difference, MeasureDifference(info.dtype, a, b));
    return absl::OkStatus();
  }

  // True when the bytes of both are those of one stored chunk.
  bool AreStoredAsSame(uint32_t stream_a, uint32_t stream_b, uint64_t chunk) const {
    const bool cut_a = file_a_ != nullptr && file_a_->chunk_bytes == limits::kChunkBytes;
    const bool cut_b = file_b_ != nullptr && file_b_->chunk_bytes == limits::kChunkBytes;
    const bool same_a = cut_a && IsSame(*file_a_, stream_a, chunk);
    const bool same_b = cut_b && IsSame(*file_b_, stream_b, chunk);
    if (same_a && file_a_->parent_digest == digest_b_ &&
        file_a_->streams[stream_a].parent_stream == stream_b) {
      return true;
    }
    if (same_b && file_b_->parent_digest == digest_a_ &&
        file_b_->streams[stream_b].parent_stream == stream_a) {
      return true;
    }
    return same_a && same_b && file_a_->parent_digest == file_b_->parent_digest &&
           file_a_->streams[stream_a].parent_stream == file_b_->streams[stream_b].parent_stream;
  }

  // Chunks come in the order in which they were started: of the first tensor that waits.
  absl::Status TakeChunk(const ChunkResult& result) {
    WDELTA_RETURN_IF_ERROR(input_.alive());
    Pending& front = pending_.front();
    front.diff.difference.Add(result.difference);
    if (!result.is_equal) front.diff.change = DiffKind::kChanged;
    --front.chunks_left;
    return GiveReady();
  }

  absl::Status GiveReady() {
    while (!pending_.empty() && pending_.front().chunks_left == 0) {
      TensorDiff& diff = pending_.front().diff;
      // Whether an unchanged tensor was decoded must not show.
      if (diff.change == DiffKind::kUnchanged) diff.difference.norm = SquareSum();
      WDELTA_RETURN_IF_ERROR(take_(diff));
      pending_.pop_front();
    }
    return absl::OkStatus();
  }

  const DiffInput& input_;
  const std::function<absl::Status(const TensorDiff&)>& take_;
  const ContentSource& a_;
  const ContentSource& b_;
  const WdeltaFile* const file_a_;  // null: not stored yet
  const WdeltaFile* const file_b_;
  const Digest digest_a_;
  const Digest digest_b_;
  std::deque<Pending> pending_;
  OrderedTasks<ChunkResult> tasks_;  // last: its tasks read what is above
};

bool IsNumber(absl::string_view part) {
  return !part.empty() && std::all_of(part.begin(), part.end(), absl::ascii_isdigit);
}

}  // namespace

void DiffSummary::Add(const TensorDiff& tensor) {
  switch (tensor.change) {
    case DiffKind::kUnchanged:
      ++tensors_unchanged;
      break;
    case DiffKind::kChanged:
      ++tensors_changed;
      break;
    case DiffKind::kOnlyInA:
      ++tensors_only_in_a;
      break;
    case DiffKind::kOnlyInB:
      ++tensors_only_in_b;
      break;
    case DiffKind::kDTypeChanged:
      ++tensors_retyped;
      break;
    case DiffKind::kShapeChanged:
      ++tensors_reshaped;
      break;
  }
  difference.Add(tensor.difference);
}

std::string LayerOf(absl::string_view tensor_name) {
  for (size_t begin = 0; begin < tensor_name.size();) {
    const size_t end = std::min(tensor_name.find('.', begin), tensor_name.size());
    if (IsNumber(tensor_name.substr(begin, end - begin))) {
      return std::string(tensor_name.substr(0, end));
    }
    begin = end + 1;
  }
  const size_t dot = tensor_name.rfind('.');
  return std::string(tensor_name.substr(0, dot == 0 ? tensor_name.size() : dot));
}

std::vector<FileDiff> DiffFiles(const Checkpoint& a, const Checkpoint& b) {
  std::vector<FileDiff> diffs;
  auto in_a = a.files.begin();
  auto in_b = b.files.begin();
  while (in_a != a.files.end() || in_b != b.files.end()) {
    const bool has_a = in_a != a.files.end() && (in_b == b.files.end() || in_a->path <= in_b->path);
    const bool has_b = in_b != b.files.end() && (in_a == a.files.end() || in_b->path <= in_a->path);
    FileDiff diff{has_a ? in_a->path : in_b->path, DiffKind::kOnlyInA, 0, 0};
    const bool is_safetensors = has_a ? in_a->is_safetensors : in_b->is_safetensors;
    if (has_a && has_b) {
      diff.change = in_a->sha256 == in_b->sha256 ? DiffKind::kUnchanged : DiffKind::kChanged;
    } else if (has_b) {
      diff.change = DiffKind::kOnlyInB;
    }
    if (has_a) diff.size_bytes_a = (in_a++)->size_bytes;
    if (has_b) diff.size_bytes_b = (in_b++)->size_bytes;
    if (!is_safetensors) diffs.push_back(std::move(diff));
  }
  return diffs;
}

absl::Status DiffTensors(const DiffInput& input, ThreadPool* pool,
                         const std::function<absl::Status(const TensorDiff&)>& take) {
  return TensorsDiff(input, pool, take).Run();
}

}  // namespace wdelta

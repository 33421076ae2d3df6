#include "storage/engine/encoding/low_rank/delta_matrix.h"

#include <utility>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/codec/kernels/range_kernels.h"
#include "storage/engine/encoding/chunk_input.h"
#include "storage/engine/encoding/storage_plan.h"

namespace wdelta {

std::optional<DeltaMatrix> DeltaMatrix::Of(const ContentSource& target, uint32_t stream,
                                           const ContentSource& parent, uint32_t parent_stream) {
  const StreamInfo& info = target.checkpoint().streams[stream];
  const TensorInfo& other = parent.checkpoint().streams[parent_stream].tensor;
  const std::optional<MatrixShape> shape = CorrectableShape(info.tensor);
  if (info.kind != StreamKind::kTensor || !shape.has_value() || info.tensor.shape != other.shape ||
      !DTypesMatch(info.tensor, other)) {
    return std::nullopt;
  }
  DeltaMatrix matrix;
  matrix.target_ = &target;
  matrix.parent_ = &parent;
  matrix.tensor_ = info.tensor;
  matrix.stream_ = stream;
  matrix.parent_stream_ = parent_stream;
  matrix.shape_ = *shape;
  return matrix;
}

DeltaMatrix DeltaMatrix::FirstRows(uint64_t count) const {
  DeltaMatrix first = *this;
  first.shape_.rows = count;
  first.tensor_.shape = {count, shape_.columns};
  first.tensor_.size_bytes = count * shape_.columns * LaneBytes(tensor_.dtype);
  return first;
}

absl::Status DeltaMatrix::Hold(std::vector<ReadChunk> chunks) {
  auto held = std::make_shared<Held>();
  const uint64_t size = shape_.rows * shape_.columns;
  held->numbers = std::make_unique_for_overwrite<float[]>(size);
  uint64_t first = 0;
  for (const ReadChunk& chunk : chunks) {
    const uint64_t count = chunk.bytes.size() / LaneBytes(tensor_.dtype);
    if (!chunk.parent.has_value() || chunk.parent->size() != chunk.bytes.size() ||
        first + count > size) {
      return absl::InternalError("a parent of another size");
    }
    kernels::Subtract(tensor_.dtype, reinterpret_cast<const uint8_t*>(chunk.bytes.data()),
                      reinterpret_cast<const uint8_t*>(chunk.parent->data()), count,
                      held->numbers.get() + first);
    first += count;
  }
  if (first != size) return absl::InternalError("chunks of less than a matrix");
  held->chunks = std::move(chunks);
  held_ = std::move(held);
  return absl::OkStatus();
}

absl::StatusOr<DeltaMatrix::Lanes> DeltaMatrix::ReadLanes(uint64_t first, uint64_t count,
                                                          DeltaRun& run) const {
  const uint64_t lane_bytes = LaneBytes(tensor_.dtype);
  const ChunkRef at{stream_, first * lane_bytes, count * lane_bytes};
  if (held_ != nullptr) {
    const ReadChunk& chunk = held_->chunks[at.offset / limits::kChunkBytes];
    const uint64_t offset = at.offset % limits::kChunkBytes;
    return Lanes{absl::string_view(chunk.bytes).substr(offset, at.size),
                 absl::string_view(*chunk.parent).substr(offset, at.size)};
  }
  run.target.resize(at.size);
  WDELTA_RETURN_IF_ERROR(target_->Read(stream_, at.offset, at.size, run.target.data()));
  WDELTA_ASSIGN_OR_RETURN(const std::optional<absl::string_view> parent,
                          ReadParentChunk(parent_, parent_stream_, tensor_, at, run.parent));
  if (!parent.has_value() || parent->size() != run.target.size()) {
    return absl::InternalError("a parent of another size");
  }
  return Lanes{run.target, *parent};
}

absl::StatusOr<const float*> DeltaMatrix::Read(uint64_t first, uint64_t count,
                                               DeltaRun& run) const {
  if (held_ != nullptr) return held_->numbers.get() + first;
  WDELTA_ASSIGN_OR_RETURN(const Lanes lanes, ReadLanes(first, count, run));
  run.numbers.resize(count);
  kernels::Subtract(tensor_.dtype, reinterpret_cast<const uint8_t*>(lanes.target.data()),
                    reinterpret_cast<const uint8_t*>(lanes.parent.data()), count,
                    run.numbers.data());
  return run.numbers.data();
}

}  // namespace wdelta

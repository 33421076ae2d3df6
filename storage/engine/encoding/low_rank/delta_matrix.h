// The difference of a tensor and its parent's as a matrix, read run by run.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/codec/correction.h"
#include "storage/engine/content/content_source.h"

namespace wdelta {

// A chunk that was read before it is encoded.
struct ReadChunk {
  std::string bytes;
  std::optional<std::string> parent;  // as ReadParentChunk gives it
};

// Scratch of one thread.
struct DeltaRun {
  std::string target;
  std::string parent;
  std::vector<float> numbers;
};

// Any thread may call it.
class DeltaMatrix {
 public:
  // The sources must outlive it. Nullopt where the tensor cannot have a correction: see
  // CorrectableShape; and the parent's has the same shape, and a dtype that is equal or converted.
  static std::optional<DeltaMatrix> Of(const ContentSource& target, uint32_t stream,
                                       const ContentSource& parent, uint32_t parent_stream);

  // The first `count` of its rows, which are no more than all, as a matrix of their own.
  DeltaMatrix FirstRows(uint64_t count) const;

  // Of as many dimensions, and of a FirstRows of two.
  const TensorInfo& tensor() const { return tensor_; }
  uint32_t stream() const { return stream_; }
  uint64_t rows() const { return shape_.rows; }
  uint64_t columns() const { return shape_.columns; }

  // From here on the matrix, whose chunks these are, in order, is in memory and not read again.
  absl::Status Hold(std::vector<ReadChunk> chunks);
  bool is_held() const { return held_ != nullptr; }
  // Gives back the chunks of a matrix that is held, which may then not be read any more.
  std::vector<ReadChunk> TakeChunks() { return std::move(held_->chunks); }

  // `count` numbers from the `first` on, row by row; those that are not finite are 0. In `run`
  // unless the matrix is held.
  absl::StatusOr<const float*> Read(uint64_t first, uint64_t count, DeltaRun& run) const;

  // Bytes of the target and of what it is coded against, for lanes of one chunk. In `run` unless
  // the matrix is held.
  struct Lanes {
    absl::string_view target;
    absl::string_view parent;
  };
  absl::StatusOr<Lanes> ReadLanes(uint64_t first, uint64_t count, DeltaRun& run) const;

 private:
  struct Held {
    std::vector<ReadChunk> chunks;
    std::unique_ptr<float[]> numbers;
  };

  DeltaMatrix() = default;

  const ContentSource* target_ = nullptr;
  const ContentSource* parent_ = nullptr;
  TensorInfo tensor_;
  uint32_t stream_ = 0;
  uint32_t parent_stream_ = 0;
  MatrixShape shape_;
  std::shared_ptr<Held> held_;  // null: it is read
};

}  // namespace wdelta

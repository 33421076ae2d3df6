#include "storage/engine/encoding/low_rank/corrected_estimate.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/encoding/chunk_encoder.h"
#include "storage/engine/encoding/low_rank/correction_choice.h"
#include "storage/engine/encoding/low_rank/delta_matrix.h"

namespace wdelta {
namespace {

constexpr size_t kMaxShapes = 4;
constexpr double kWorthALook = 1.0 / 16;  // of all payloads
constexpr uint64_t kSeenBytes = 8 * limits::kMiB;
// Fewer would look as if they had a low rank, or explain too much of what is noise.
constexpr uint64_t kMinSeenRows = 1024;

// Tensors that are taken to be alike.
struct Shape {
  std::vector<size_t> chunks;               // by place in the sample
  std::map<uint32_t, double> stream_bytes;  // of payload, by stream
  double payload_bytes = 0;

  // The one with most bytes, of equals the first.
  uint32_t Stream() const {
    return std::max_element(stream_bytes.begin(), stream_bytes.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; })
        ->first;
  }
};

// Those with the most bytes first.
std::vector<Shape> ShapesOf(const DeltaEncoderInput& input,
                            const std::vector<WeightedChunk>& sample,
                            const DeltaEstimate& estimate) {
  std::map<std::pair<DType, std::vector<uint64_t>>, Shape> by_shape;
  for (size_t i = 0; i < sample.size(); ++i) {
    const uint32_t stream = sample[i].chunk.stream;
    if (!MatrixToCorrect(input, stream).has_value()) continue;
    const TensorInfo& tensor = input.target->checkpoint().streams[stream].tensor;
    Shape& shape = by_shape[{tensor.dtype, tensor.shape}];
    const double payload_bytes = sample[i].weight * estimate.chunk_bytes[i];
    shape.chunks.push_back(i);
    shape.stream_bytes[stream] += payload_bytes;
    shape.payload_bytes += payload_bytes;
  }
  std::vector<Shape> shapes;
  for (auto& [key, shape] : by_shape) shapes.push_back(std::move(shape));
  std::stable_sort(shapes.begin(), shapes.end(), [](const Shape& a, const Shape& b) {
    return a.payload_bytes > b.payload_bytes;
  });
  return shapes;
}

DeltaMatrix SeenRows(const DeltaMatrix& matrix) {
  const uint64_t row_bytes = matrix.columns() * LaneBytes(matrix.tensor().dtype);
  const uint64_t rows = std::max(kSeenBytes / row_bytes, kMinSeenRows);
  return rows < matrix.rows() ? matrix.FirstRows(rows) : matrix;
}

}  // namespace

absl::Status EstimateCorrections(const DeltaEncoderInput& input,
                                 const std::vector<WeightedChunk>& sample, ThreadPool* pool,
                                 DeltaEstimate& estimate) {
  std::vector<Shape> shapes = ShapesOf(input, sample, estimate);
  if (shapes.size() > kMaxShapes) shapes.resize(kMaxShapes);
  const double worth_a_look = kWorthALook * estimate.payload_bytes;
  ChunkEncoder chunks(input);
  for (const Shape& shape : shapes) {
    if (shape.payload_bytes < worth_a_look) break;
    const std::optional<DeltaMatrix> matrix = MatrixToCorrect(input, shape.Stream());
    const CorrectionSearch search{input, chunks, pool, [&input] { return input.advance(0); }, true};
    WDELTA_ASSIGN_OR_RETURN(const MeasuredCorrection measured,
                            ChooseCorrection(search, SeenRows(*matrix)));
    for (const size_t i : shape.chunks) {
      const double saved = (1 - measured.share) * estimate.chunk_bytes[i];
      estimate.payload_bytes -= sample[i].weight * saved;
      estimate.chunk_bytes[i] -= saved;
    }
  }
  return absl::OkStatus();
}

}  // namespace wdelta

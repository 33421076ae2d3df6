#include "storage/engine/encoding/low_rank/share_estimate.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/codec/class_plan.h"
#include "storage/codec/codec.h"
#include "storage/engine/encoding/chunk_input.h"

namespace wdelta {
namespace {

constexpr size_t kMaxChunks = 4;
// PlanDelta looks at all of them.
constexpr uint64_t kBlocks = 32;  // of a chunk
constexpr uint64_t kBlockLanes = 128;
constexpr double kLeastBits = 1e-3;  // of a lane

}  // namespace

absl::StatusOr<ShareEstimate> ShareEstimate::Of(const DeltaMatrix& matrix,
                                                const TensorInfo& tensor) {
  ShareEstimate estimate(tensor, matrix.columns());
  const uint64_t lane_bytes = LaneBytes(matrix.tensor().dtype);
  const std::vector<ChunkRef> all = ChunksOfStream(matrix.stream(), matrix.tensor().size_bytes);
  const size_t count = std::min(all.size(), kMaxChunks);
  DeltaRun run;
  for (size_t i = 0; i < count; ++i) {
    const ChunkRef& at = all[(2 * i + 1) * all.size() / (2 * count)];
    WDELTA_RETURN_IF_ERROR(estimate.Add(matrix, at.offset / lane_bytes, at.size / lane_bytes, run));
  }
  double bits = 0;
  double lanes = 0;
  for (const Sample& sample : estimate.samples_) {
    bits += estimate.BitsOf(sample.target, sample.parent);
    lanes += static_cast<double>(sample.target.size() / lane_bytes);
  }
  estimate.bits_a_lane_ = std::max(bits / std::max(lanes, 1.0), kLeastBits);
  return estimate;
}

absl::Status ShareEstimate::Add(const DeltaMatrix& matrix, uint64_t first, uint64_t count,
                                DeltaRun& run) {
  const uint64_t lane_bytes = LaneBytes(tensor_.dtype);
  WDELTA_ASSIGN_OR_RETURN(const DeltaMatrix::Lanes lanes, matrix.ReadLanes(first, count, run));
  const uint64_t size = std::min({kBlockLanes, columns_, count});
  Sample sample;
  for (uint64_t b = 0; b < kBlocks; ++b) {
    uint64_t begin = first + b * (count - size) / (kBlocks - 1);
    const uint64_t row_left = columns_ - begin % columns_;
    // A block that would end in the next row begins there.
    if (row_left < size) begin += row_left;
    if (begin + size > first + count) break;
    sample.blocks.push_back({begin, size});
    const uint64_t offset = (begin - first) * lane_bytes;
    absl::StrAppend(&sample.target, lanes.target.substr(offset, size * lane_bytes));
    absl::StrAppend(&sample.parent, lanes.parent.substr(offset, size * lane_bytes));
  }
  if (!sample.blocks.empty()) samples_.push_back(std::move(sample));
  return absl::OkStatus();
}

double ShareEstimate::BitsOf(const std::string& target, const std::string& parent) const {
  const auto* const lanes = reinterpret_cast<const uint8_t*>(target.data());
  return PlanDelta(LaneFormatOf(tensor_.dtype), lanes,
                   reinterpret_cast<const uint8_t*>(parent.data()),
                   target.size() / LaneBytes(tensor_.dtype))
      .bits;
}

double ShareEstimate::With(const Correction& correction) {
  const uint64_t lane_bytes = LaneBytes(tensor_.dtype);
  double bits = 0;
  double lanes = 0;
  for (const Sample& sample : samples_) {
    corrected_.clear();
    for (const Block& block : sample.blocks) {
      block_.assign(sample.parent, corrected_.size(), block.count * lane_bytes);
      CorrectNumbers(tensor_, correction.form, correction.factors, block.first * lane_bytes, block_,
                     factors_);
      corrected_ += block_;
    }
    bits += BitsOf(sample.target, corrected_);
    lanes += static_cast<double>(sample.target.size() / lane_bytes);
  }
  const double all_lanes = static_cast<double>(tensor_.size_bytes / lane_bytes);
  const double factor_bits = 8 * static_cast<double>(correction.factors.size()) / all_lanes;
  return (bits / std::max(lanes, 1.0) + factor_bits) / bits_a_lane_;
}

}  // namespace wdelta

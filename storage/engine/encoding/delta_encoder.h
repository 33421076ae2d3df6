// Encodes a model as a `.wdelta`, chunk by chunk in parallel, and checks what it
// reads against the digests promised for the files.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/thread_pool.h"
#include "storage/codec/lossy.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/encoding/chunk_input.h"
#include "storage/engine/encoding/fetch_cost.h"
#include "storage/engine/encoding/lossy_plan.h"
#include "storage/wdelta/wdelta_writer.h"

namespace wdelta {

struct DeltaEncoderInput {
  ContentSourcePtr target;
  ContentSourcePtr parent;  // null: none
  // By stream of `target`; all empty without a parent.
  std::vector<std::optional<uint32_t>> parent_streams;
  Effort effort = Effort::kFast;
  // Streams to be coded with loss. Null: none.
  const LossyPlan* lossy = nullptr;
  // Called before and after what a tensor's chunks take; an error ends the work. May be
  // empty.
  std::function<absl::Status()> mark_payload;
  // Called with the bytes encoded since the last call; an error ends the work.
  std::function<absl::Status(uint64_t)> advance;
};

// Writes the whole file to `sink`; its digests are those of the bytes that it decodes to.
// Where the target is stored already, chunks that are no larger than the new ones are
// taken as they are, and so is what its file says of its fidelity. Tensors whose difference to
// the parent has a low rank are coded against a corrected parent (low_rank/correction_choice.h).
// At most two chunks a thread are in memory, with those of their parents where both are read
// already, and what is looked at ahead for corrections, whose bytes are bounded whatever the
// number of threads (low_rank/rank_tests.h). DATA_LOSS (`DIGEST_MISMATCH`) names
// the file whose bytes differ from the digest promised in `target->checkpoint()`. Blocks until all
// of its tasks in `pool` have ended.
absl::StatusOr<WdeltaFile> EncodeDelta(const DeltaEncoderInput& input, ThreadPool* pool,
                                       WdeltaWriter::Sink sink);

// What EncodeDelta would write without corrections (low_rank/corrected_estimate.h), extrapolated
// from a sample of the target's chunks.
struct DeltaEstimate {
  double payload_bytes = 0;
  std::vector<double> chunk_bytes;  // of payload, by chunk of the sample
  ChunkNeeds needs;
};
absl::StatusOr<DeltaEstimate> EstimateDelta(const DeltaEncoderInput& input,
                                            const std::vector<WeightedChunk>& sample,
                                            ThreadPool* pool);

}  // namespace wdelta

// What damage to the stored form of a model means: for its own tensors, and for models
// that are stored against it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/digest.h"
#include "storage/engine/content/reader.h"
#include "storage/wdelta/wdelta_reader.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// Decoded bytes [begin, end) of a stream that cannot be had.
struct LostSpan {
  uint32_t stream = 0;
  uint64_t begin_bytes = 0;
  uint64_t end_bytes = 0;
};

struct Damage {
  std::vector<Digest> blobs;  // that are missing, unreadable or changed
  // The `.wdelta` cannot be opened: everything is lost.
  bool is_total = false;
  std::vector<LostSpan> spans;  // by stream, then position
  std::string problem;          // of the first blob

  bool any() const { return !blobs.empty() || is_total || !spans.empty(); }
  bool loses_content() const { return is_total || !spans.empty(); }
};

// Reads every blob of a model's `.wdelta` and compares its SHA-256. `advance` is called
// with the bytes read; its error ends the work.
absl::StatusOr<Damage> FindDamage(Reader& reader, const store::v1::ModelRecord& model,
                                  const std::function<absl::Status(uint64_t)>& advance);

// What a `.wdelta` loses because its storage parent has lost `parent`.
std::vector<LostSpan> SpansThatNeed(const WdeltaReader& child, const std::vector<LostSpan>& parent);

// `tensor 'h.0.attn.weight' of model.safetensors, bytes 524288 to 1048576` for each, no more than
// `limit`.
std::vector<std::string> DescribeSpans(const WdeltaFile& file, const std::vector<LostSpan>& spans,
                                       size_t limit);

}  // namespace wdelta

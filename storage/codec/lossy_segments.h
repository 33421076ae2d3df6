// The rows of a chunk, as far as lossy modes need them: runs of weights that share a
// scale. No state: any thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "storage/base/byte_reader.h"
#include "storage/codec/codec.h"

namespace wdelta {

// How a chunk falls into segments of one scale.
struct Segments {
  size_t length = 0;  // weights of a segment but the first and last; 0: one segment
  size_t first = 0;   // weights of the first segment, 1 to length

  // Segments of a chunk of `weights` weights.
  size_t Count(size_t weights) const;
};
// Rows, or a part or several of them.
Segments SegmentsOf(const ChunkGeometry& geometry, size_t weights);

// The dtype of a lossy payload. DATA_LOSS unless it CanBeLossy and has such lanes, of
// which `size` bytes are a whole number, not zero.
absl::StatusOr<DType> ReadLossyDType(ByteReader& reader, int lane_bytes, size_t size);

void AppendSegments(const Segments& segments, std::string& out);
// Of a chunk of `weights` weights, at least one.
absl::StatusOr<Segments> ReadSegments(ByteReader& reader, size_t weights);

// Calls function(index, first weight, weights) for each segment.
template <class Function>
void ForEachSegment(const Segments& segments, size_t weights, Function function) {
  size_t index = 0;
  for (size_t at = 0; at < weights; ++index) {
    const size_t length = segments.length == 0 ? weights
                          : index == 0         ? segments.first
                                               : segments.length;
    const size_t count = std::min(length, weights - at);
    function(index, at, count);
    at += count;
  }
}

}  // namespace wdelta

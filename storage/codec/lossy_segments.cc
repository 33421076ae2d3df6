#include "storage/codec/lossy_segments.h"

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

// Segments have so many weights, or as many rows as come near.
constexpr size_t kLeastSegment = 256;
constexpr size_t kMostSegment = 4096;
}  // namespace

size_t Segments::Count(size_t weights) const {
  if (weights == 0) return 0;
  if (length == 0 || first >= weights) return 1;
  return 1 + (weights - first + length - 1) / length;
}

Segments SegmentsOf(const ChunkGeometry& geometry, size_t weights) {
  size_t length = 1024;
  size_t first = length;
  if (geometry.row_weights != 0) {
    const size_t row = geometry.row_weights;
    // A long row is cut into equal parts, if it can be.
    size_t parts = 1;
    while (row / parts > kMostSegment && row % (2 * parts) == 0) parts *= 2;
    length = row >= kLeastSegment ? row / parts : (kLeastSegment + row - 1) / row * row;
    first = length - geometry.first_weight % length;
  }
  if (first >= weights) return {};
  return {length, first};
}

absl::StatusOr<DType> ReadLossyDType(ByteReader& reader, int lane_bytes, size_t size) {
  WDELTA_ASSIGN_OR_RETURN(const uint8_t byte, reader.ReadU8("dtype"));
  const absl::StatusOr<DType> dtype = DTypeFromByte(byte);
  if (!dtype.ok() || !CanBeLossy(*dtype) || LaneBytes(*dtype) != lane_bytes) {
    return absl::DataLossError(absl::StrCat("dtype of a lossy chunk: expected a float of ",
                                            lane_bytes, " bytes, found dtype ", byte));
  }
  if (size == 0 || size % static_cast<size_t>(lane_bytes) != 0) {
    return absl::DataLossError(absl::StrCat("lossy chunk: expected whole lanes of ", lane_bytes,
                                            " bytes, found ", size, " bytes"));
  }
  return *dtype;
}

void AppendSegments(const Segments& segments, std::string& out) {
  AppendVarint(out, segments.length);
  if (segments.length != 0) AppendVarint(out, segments.first);
}

absl::StatusOr<Segments> ReadSegments(ByteReader& reader, size_t weights) {
  Segments segments;
  WDELTA_ASSIGN_OR_RETURN(segments.length, reader.ReadVarint("segment length"));
  if (segments.length == 0) return segments;
  WDELTA_ASSIGN_OR_RETURN(segments.first, reader.ReadVarint("first segment"));
  if (segments.first == 0 || segments.first > segments.length || segments.first >= weights) {
    return absl::DataLossError(absl::StrCat("first segment: expected 1 to ",
                                            std::min(segments.length, weights - 1),
                                            " weights, found ", segments.first));
  }
  return segments;
}

}  // namespace wdelta

#include "storage/codec/plane_modes.h"

#include "absl/strings/str_cat.h"
#include "storage/base/byte_reader.h"
#include "storage/base/status_macros.h"

namespace wdelta {

kernels::Planes PlaneModes::Room(LaneFormat format, size_t lanes) {
  const size_t bytes = lanes * format.lane_bytes;
  if (capacity_ < bytes) {
    bytes_.reset(new uint8_t[bytes]);
    capacity_ = bytes;
  }
  kernels::Planes planes{};
  for (int p = 0; p < format.lane_bytes; ++p) planes[p] = bytes_.get() + p * lanes;
  return planes;
}

absl::StatusOr<std::string> PlaneModes::Encode(LaneFormat format, const uint8_t* target,
                                               const uint8_t* parent, size_t lanes) {
  const kernels::Planes planes = Room(format, lanes);
  if (parent != nullptr) {
    kernels::SplitDelta(format, target, parent, lanes, planes);
  } else {
    kernels::SplitLanes(format, target, lanes, planes);
  }
  std::string payload;
  payload.reserve(lanes * format.lane_bytes / 2);
  for (int p = 0; p < format.lane_bytes; ++p) {
    const absl::string_view plane(reinterpret_cast<const char*>(planes[p]), lanes);
    WDELTA_RETURN_IF_ERROR(coder_.Append(plane, payload));
  }
  return payload;
}

absl::Status PlaneModes::Decode(LaneFormat format, absl::string_view payload, const uint8_t* parent,
                                size_t lanes, uint8_t* target) {
  const kernels::Planes scratch = Room(format, lanes);
  kernels::ConstPlanes planes{};
  ByteReader reader(payload);
  for (int p = 0; p < format.lane_bytes; ++p) {
    WDELTA_ASSIGN_OR_RETURN(planes[p], coder_.Read(reader, lanes, scratch[p]));
  }
  if (reader.remaining() != 0) {
    return absl::DataLossError(absl::StrCat("payload: expected to end with its planes, found ",
                                            reader.remaining(), " bytes more"));
  }
  if (parent != nullptr) {
    kernels::MergeDelta(format, planes, parent, lanes, target);
  } else {
    kernels::MergeLanes(format, planes, lanes, target);
  }
  return absl::OkStatus();
}

}  // namespace wdelta

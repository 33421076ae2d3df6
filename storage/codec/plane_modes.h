// The plane modes: byte planes of the lanes, or of their zigzag differences to the
// parent, each compressed by zstd. For bytes and integers, whose repetitions the
// class modes do not see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/codec/codec.h"
#include "storage/codec/kernels/lane_kernels.h"
#include "storage/codec/plane_coder.h"

namespace wdelta {

// Holds scratch memory and zstd contexts: one thread at a time, reuse it.
class PlaneModes {
 public:
  // Payload of kDeltaPlanes, or of kPlanes when `parent` is null, for `lanes` whole
  // lanes. INTERNAL when zstd fails.
  absl::StatusOr<std::string> Encode(LaneFormat format, const uint8_t* target,
                                     const uint8_t* parent, size_t lanes);

  // Inverse of Encode. DATA_LOSS for what is no such payload.
  absl::Status Decode(LaneFormat format, absl::string_view payload, const uint8_t* parent,
                      size_t lanes, uint8_t* target);

 private:
  // Room for the planes of `lanes` lanes, contents undefined.
  kernels::Planes Room(LaneFormat format, size_t lanes);

  PlaneCoder coder_;
  std::unique_ptr<uint8_t[]> bytes_;  // all planes of a chunk, back to back
  size_t capacity_ = 0;
};

}  // namespace wdelta

// The class modes: lanes ordered by the class of the parent's magnitude, cut into
// symbols of at most 8 bits, which are entropy coded with a table a class, and raw low
// bits. Specified in storage/wdelta/FORMAT.md ("Classes").
//
// A difference counted in units in the last place scales with the parent's exponent,
// so that the exponent nearly tells the distribution of the difference. Training moves some
// rows and columns of a matrix more than others: scaled-delta tells by how much.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "storage/codec/class_plan.h"
#include "storage/codec/codec.h"
#include "storage/codec/entropy/run_coder.h"

namespace wdelta {

// Holds scratch memory: one thread at a time, reuse it.
class ClassCoder {
 public:
  // The payload for whole lanes. `parent` is null for a plan of PlanDirect. `parent`
  // and `target` have `lanes` lanes, at least one. The mode is kScaledDelta for a plan with
  // scales.
  std::string Encode(LaneFormat format, const ClassPlan& plan, const uint8_t* target,
                     const uint8_t* parent, size_t lanes);

  // Fills `lanes` lanes of `target`; the payload is read to its end. `parent` is not used in
  // mode kDirect. DATA_LOSS for what is no such payload, with nothing written beyond `target`.
  absl::Status Decode(LaneFormat format, ChunkMode mode, absl::string_view payload,
                      const uint8_t* parent, size_t lanes, uint8_t* target);

 private:
  struct Header {
    kernels::ClassMap map;
    std::optional<kernels::RowGeometry> geometry;  // of kScaledDelta
    std::vector<size_t> counts;                    // by class
    std::vector<kernels::ValueFormat> formats;     // by class
  };

  static absl::Status ReadClasses(LaneFormat format, ChunkMode mode, size_t lanes,
                                  ByteReader& reader, Header& header);
  static absl::StatusOr<Header> ReadHeader(LaneFormat format, ChunkMode mode, size_t lanes,
                                           ByteReader& reader);
  // Room for the values of the classes; returns where each begins.
  kernels::ClassStarts Arrange(LaneFormat format, const std::vector<size_t>& counts,
                               size_t slack_lanes);
  absl::Status ReadValues(LaneFormat format, const Header& header,
                          const kernels::ClassStarts& starts, ByteReader& reader);
  // The map with offsets_, filled for `lanes` lanes.
  kernels::ClassMap WithOffsets(const kernels::ClassMap& map, const kernels::RowGeometry& geometry,
                                const uint8_t* rows, const uint8_t* columns, size_t lanes);
  uint8_t* ValuesAt(LaneFormat format, size_t lane);

  RunEncoder run_encoder_;
  RunDecoder run_decoder_;
  std::unique_ptr<uint64_t[]> values_;
  size_t value_capacity_ = 0;  // in uint64_t
  std::vector<uint8_t> symbols_;
  std::vector<uint8_t> offsets_;
  std::vector<uint8_t> raw_;
  std::vector<uint64_t> escapes_;
};

}  // namespace wdelta

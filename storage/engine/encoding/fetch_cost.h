// What it costs to serve a model: bytes that are decoded for each byte that is served,
// over the whole storage chain. Caches are left out of account.
#pragma once

#include <optional>

#include "storage/codec/codec.h"
#include "storage/wdelta/wdelta_file.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// Decoded bytes of chunks, by what decoding them takes.
struct ChunkNeeds {
  double total_bytes = 0;
  double own_bytes = 0;     // are decoded; others are the parent's as they are
  double parent_bytes = 0;  // of the parent that they need

  // `parent_dtype`: of a stream of `dtype` whose parent is converted.
  void Add(ChunkMode mode, double bytes, DType dtype, std::optional<DType> parent_dtype,
           bool is_corrected) {
    total_bytes += bytes;
    const bool is_changed = parent_dtype.has_value() || is_corrected;
    if (mode != ChunkMode::kSame || is_changed) own_bytes += bytes;
    if (!NeedsParent(mode)) return;
    parent_bytes += bytes *
                    (parent_dtype.has_value() ? LaneBytes(*parent_dtype) : LaneBytes(dtype)) /
                    LaneBytes(dtype);
  }

  // `parent_cost`: of the storage parent, 0 without one.
  double FetchCost(double parent_cost) const {
    return total_bytes == 0 ? 0 : (own_bytes + parent_bytes * parent_cost) / total_bytes;
  }
};

ChunkNeeds NeedsOf(const WdeltaFile& file);

// Of a READY model, by its depth where it is not known.
double FetchCostOf(const store::v1::ModelRecord& model);

}  // namespace wdelta

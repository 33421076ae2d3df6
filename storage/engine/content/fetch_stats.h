// What fetches read and how long they take, for whoever watches the store.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "storage/base/histogram.h"
#include "storage/engine/content/content_source.h"

namespace wdelta {

// Any thread may use it.
struct FetchStats {
  // From the opening of a model to the last piece that is read of it.
  Histogram duration_seconds{DurationBoundsSeconds()};
  // Models below the one that is read, in its decoding chain.
  Histogram chain_depth{{0, 1, 2, 3, 4, 6, 8, 12, 16}};
  std::atomic<uint64_t> read_bytes = 0;
};

// `source`, and what is read of it is counted until it is let go of.
ContentSourcePtr NewCountedSource(ContentSourcePtr source, uint32_t chain_depth,
                                  std::shared_ptr<FetchStats> stats);

}  // namespace wdelta

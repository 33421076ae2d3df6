// A model as fetches read it: chunks that several of them want are decoded once.
#pragma once

#include "storage/engine/content/chunk_cache.h"
#include "storage/engine/content/content_source.h"

namespace wdelta {

// `source` read through `chunks`, which must outlive it. What was kept of an earlier fetch is
// served without a look at the stored bytes: not for those who verify them.
ContentSourcePtr NewCachedSource(ContentSourcePtr source, ChunkCache* chunks);

}  // namespace wdelta

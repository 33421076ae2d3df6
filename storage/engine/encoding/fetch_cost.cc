#include "storage/engine/encoding/fetch_cost.h"

namespace wdelta {

ChunkNeeds NeedsOf(const WdeltaFile& file) {
  ChunkNeeds needs;
  for (const WdeltaStream& stream : file.streams) {
    for (uint64_t i = 0; i < stream.chunk_count; ++i) {
      needs.Add(file.chunks[stream.first_chunk + i].mode,
                static_cast<double>(SpanOfChunk(file, stream, i).size_bytes),
                stream.info.tensor.dtype, stream.parent_dtype, stream.correction.has_value());
    }
  }
  return needs;
}

double FetchCostOf(const store::v1::ModelRecord& model) {
  return model.fetch_cost() > 0 ? model.fetch_cost() : 1.0 + model.storage_depth();
}

}  // namespace wdelta

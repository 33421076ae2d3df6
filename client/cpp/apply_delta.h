// Makes files of a model from deltas and what they are applied to, chunk by chunk.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/delta_download.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/content/chunk_cache.h"
#include "storage/engine/content/codec_pool.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/content/cursor.h"
#include "storage/engine/content/piece_buffers.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {

// Decodes through all deltas at once, in a few threads; memory does not depend on the size of the
// model, but for the tables of its chunks.
class DeltaApplier {
 public:
  // Before all else: opens the deltas, in the order in which they are applied. `held` is what the
  // first is applied to; null: it stands alone. DATA_LOSS (`BAD_WDELTA`, and `WRONG_MODEL` unless
  // they lead to exactly the files of `model`), FAILED_PRECONDITION (`WRONG_PARENT`), the disk's.
  absl::Status Open(const std::vector<DeltaFile>& deltas, ContentSourcePtr held,
                    const v1::Model& model);

  // Any thread. Puts one file of the model in its place; its SHA-256 is verified before it gets its
  // name. DATA_LOSS (`SHA256_MISMATCH`, or `BAD_WDELTA` naming the chunk); as PartFile; the disk's.
  absl::Status Write(const v1::File& file, const std::string& destination);

 private:
  CodecPool codecs_;
  // A chunk of a parent is needed for one chunk only, as a rule.
  ChunkCache parent_chunks_{0};
  const std::shared_ptr<PieceBuffers> buffers_ =
      std::make_shared<PieceBuffers>(WindowPieces(ThreadCount()));
  ContentSourcePtr source_;
  // Last, so that its tasks end before what they use goes.
  ThreadPool pool_{ThreadCount()};

  static int ThreadCount();
};

}  // namespace wdelta

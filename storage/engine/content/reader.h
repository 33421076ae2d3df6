// Reading models: opens the bytes of a model, from its `.wdelta` and those of its
// storage parents or from its staged upload. Any thread may call it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/file_system.h"
#include "storage/base/thread_pool.h"
#include "storage/blobs/blob_store.h"
#include "storage/engine/content/chunk_cache.h"
#include "storage/engine/content/codec_pool.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/content/cursor.h"
#include "storage/engine/content/fetch_stats.h"
#include "storage/engine/content/staging.h"
#include "storage/engine/models/models.h"
#include "storage/tensor/tensor_slice.h"

namespace wdelta {

struct HeldDelta {
  store::v1::ModelRecord model;  // that the file is of
  std::shared_ptr<const RandomAccessFile> file;
};

class Reader {
 public:
  // Owns none of them; all must outlive it and every source and cursor it made. Touches none of
  // them before the first call. `pool` has `pool_threads`. Up to `chunk_cache_bytes` of decoded
  // chunks are kept.
  Reader(BlobStore* blobs, Models* models, Staging* staging, ThreadPool* pool, int pool_threads,
         uint64_t chunk_cache_bytes, Waiting* waiting = nullptr)
      : blobs_(blobs),
        models_(models),
        staging_(staging),
        pool_(pool),
        chunks_(chunk_cache_bytes, waiting),
        buffers_(std::make_shared<PieceBuffers>(2 * WindowPieces(pool_threads))) {}

  // FAILED_PRECONDITION (`MODEL_IMPORTING`; `MODEL_NOT_READY` while it may still become
  // lossy), DATA_LOSS, NOT_FOUND (a model of the
  // storage chain, named).
  absl::StatusOr<ContentSourcePtr> Open(const store::v1::ModelRecord& model);
  // The same for a fetch: chunks may come from earlier ones.
  absl::StatusOr<ContentSourcePtr> OpenToServe(const store::v1::ModelRecord& model);

  // A `.wdelta` that lies in a file, against its storage parent (empty: none).
  absl::StatusOr<ContentSourcePtr> OpenWdelta(std::shared_ptr<const RandomAccessFile> file,
                                              const std::string& storage_parent_id);

  // The stored `.wdelta` of `model`, whose blobs the caller knows to stay, for callers
  // who verify what they read.
  std::shared_ptr<const RandomAccessFile> OpenDelta(const store::v1::ModelRecord& model);
  // The `.wdelta` that a READY model has, whose blobs stay until the file is let go of.
  // FAILED_PRECONDITION (`MODEL_NOT_READY`), NOT_FOUND.
  absl::StatusOr<HeldDelta> HoldDelta(const std::string& model_id);

  std::shared_ptr<Cursor> NewCursor(ContentSourcePtr source, std::vector<StreamRange> ranges);
  // Bytes of a slice of the tensor in `stream`, from `offset` on, at most its size.
  std::shared_ptr<Cursor> NewSliceCursor(ContentSourcePtr source, uint32_t stream,
                                         const TensorSlice& slice, uint64_t offset);
  // Of the pieces of all cursors.
  const std::shared_ptr<PieceBuffers>& buffers() const { return buffers_; }
  // Of what was opened to be served.
  const FetchStats& fetch_stats() const { return *fetch_stats_; }
  ChunkCache::Stats chunk_cache_stats() const { return chunks_.stats(); }
  // Bytes of a stored file as one stream, for a `.wdelta` on its way out.
  std::shared_ptr<Cursor> NewFileCursor(std::shared_ptr<const RandomAccessFile> file,
                                        uint64_t size_bytes, std::unique_ptr<const PiecePlan> plan);

  // Makes the model count as in use as long as the result lives, without opening it: one that has
  // no record yet, so that nobody takes what was claimed for it for left behind, or one that is to
  // stay. The reader must outlive it.
  std::shared_ptr<const void> HoldInUse(const std::string& model_id);
  // True while someone outside this class holds or opens a source of the model or of one
  // that is encoded against it.
  bool InUse(const std::string& model_id) ABSL_LOCKS_EXCLUDED(mutex_);
  // Likewise, but only of stored forms of the model other than its current one.
  bool FormerInUse(const store::v1::ModelRecord& model) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  class Opening;
  class HeldFile;

  absl::StatusOr<ContentSourcePtr> OpenReady(const store::v1::ModelRecord& model, uint32_t depth);
  absl::StatusOr<ContentSourcePtr> OpenParent(const std::string& parent_id, uint32_t depth);
  absl::StatusOr<ContentSourcePtr> OpenAtDepth(const store::v1::ModelRecord& model, uint32_t depth);
  absl::StatusOr<ContentSourcePtr> OpenPlace(const store::v1::ModelRecord& model,
                                             const std::string& key, uint32_t depth);
  bool AnyInUse(const std::string& prefix, const std::string& except_key)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  BlobStore* const blobs_;
  Models* const models_;
  Staging* const staging_;
  ThreadPool* const pool_;
  CodecPool codecs_;
  ChunkCache chunks_;
  const std::shared_ptr<PieceBuffers> buffers_;
  const std::shared_ptr<FetchStats> fetch_stats_ = std::make_shared<FetchStats>();
  absl::Mutex mutex_;
  // Sources that are open somewhere, by model id and place; expired ones are
  // dropped as they are met.
  absl::flat_hash_map<std::string, std::weak_ptr<const ContentSource>> open_
      ABSL_GUARDED_BY(mutex_);
  // Places that are being opened, by how many.
  absl::flat_hash_map<std::string, int> opening_ ABSL_GUARDED_BY(mutex_);
};

// FAILED_PRECONDITION (`MODEL_IMPORTING`, `MODEL_NOT_READY`) says why Open would refuse it.
absl::Status CheckCanBeFetched(const store::v1::ModelRecord& model);

// Ranges that make up bytes [offset, offset + size) of a file of the checkpoint.
// The range must lie within the file.
std::vector<StreamRange> RangesOfFile(const Checkpoint& checkpoint, uint32_t file_index,
                                      uint64_t offset, uint64_t size);

}  // namespace wdelta

// A model's bytes in its `.wdelta`, decoded over those of its storage parent.
#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/engine/content/chunk_cache.h"
#include "storage/engine/content/codec_pool.h"
#include "storage/engine/content/content_source.h"
#include "storage/wdelta/wdelta_reader.h"

namespace wdelta {

class WdeltaSource final : public ContentSource {
 public:
  // FAILED_PRECONDITION (`WRONG_PARENT`) unless `parent` is the model that the file
  // was encoded against, null for a file without parent; DATA_LOSS when a stream
  // refers to a stream that the parent does not have. `codecs` and
  // `parent_chunks`, where decoded chunks of parents are kept, must outlive it. Errors of
  // reading begin with `name`. `shares_factors`: factors are kept there too, under the names that
  // the file gives itself; not for a file that is to be verified.
  static absl::StatusOr<ContentSourcePtr> Open(std::string name,
                                               std::shared_ptr<const WdeltaReader> reader,
                                               ContentSourcePtr parent, CodecPool* codecs,
                                               ChunkCache* parent_chunks,
                                               bool shares_factors = true);

  const Checkpoint& checkpoint() const override { return checkpoint_; }
  absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                    char* destination) const override;
  absl::Status ReadForChild(uint32_t stream, uint64_t offset, size_t size,
                            char* destination) const override;
  std::optional<Digest> StreamDigest(uint32_t stream) const override;
  std::shared_ptr<const WdeltaReader> stored() const override { return reader_; }

 private:
  WdeltaSource(std::string name, std::shared_ptr<const WdeltaReader> reader,
               ContentSourcePtr parent, CodecPool* codecs, ChunkCache* parent_chunks,
               bool shares_factors);

  // `keep`: whether the parent's chunks are kept.
  absl::Status ReadUnnamed(ChunkCache::Keep keep, uint32_t stream, uint64_t offset, size_t size,
                           char* destination) const;
  // Bytes of the parent's stream, from the cache or decoded.
  absl::StatusOr<ChunkCache::Bytes> ReadParent(ChunkCache::Keep keep, uint32_t parent_stream,
                                               uint64_t offset, uint64_t size) const;
  struct ParentBytes {
    ChunkCache::Bytes owner;
    absl::string_view bytes;
  };
  // Those that a chunk is coded against, in the parent's dtype.
  absl::StatusOr<ParentBytes> ReadParentOf(ChunkCache::Keep keep, uint32_t stream,
                                           const ChunkSpan& span) const;
  struct ChunkPart {
    uint64_t offset = 0;
    size_t size = 0;
    char* destination = nullptr;
  };
  absl::Status ReadChunk(ChunkCache::Keep keep, uint32_t stream, uint64_t chunk,
                         const ChunkSpan& span, ChunkPart part) const;

  // What a stream's parent is corrected with, from the cache or read.
  absl::StatusOr<ChunkCache::Bytes> ReadFactors(uint32_t stream) const
      ABSL_LOCKS_EXCLUDED(factors_mutex_);
  absl::StatusOr<ChunkCache::Bytes> ReadSharedFactors(uint32_t stream) const;

  const std::string name_;
  const std::shared_ptr<const WdeltaReader> reader_;
  const ContentSourcePtr parent_;
  CodecPool* const codecs_;
  ChunkCache* const parent_chunks_;
  const bool shares_factors_;
  Checkpoint checkpoint_;
  // Those asked for last: a cache that has no room for them must not make every chunk read them.
  mutable absl::Mutex factors_mutex_;
  mutable uint32_t factors_stream_ ABSL_GUARDED_BY(factors_mutex_) = 0;
  mutable ChunkCache::Bytes factors_ ABSL_GUARDED_BY(factors_mutex_);
};

}  // namespace wdelta

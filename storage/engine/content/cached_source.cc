#include "storage/engine/content/cached_source.h"

#include <algorithm>
#include <utility>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

class CachedSource final : public ContentSource {
 public:
  CachedSource(ContentSourcePtr source, ChunkCache* chunks)
      : source_(std::move(source)),
        digest_(ModelDigest(source_->checkpoint().files)),
        chunks_(*chunks) {}

  const Checkpoint& checkpoint() const override { return source_->checkpoint(); }
  std::optional<Digest> StreamDigest(uint32_t stream) const override {
    return source_->StreamDigest(stream);
  }
  std::shared_ptr<const WdeltaReader> stored() const override { return source_->stored(); }

  absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                    char* destination) const override {
    const uint64_t stream_bytes = checkpoint().streams[stream].tensor.size_bytes;
    if (stream_bytes < limits::kMinCachedStreamBytes) {
      return source_->Read(stream, offset, size, destination);
    }
    while (size > 0) {
      const uint64_t begin = offset - offset % limits::kChunkBytes;
      const uint64_t end = std::min(begin + limits::kChunkBytes, stream_bytes);
      const size_t wanted = std::min<uint64_t>(size, end - offset);
      const bool is_whole = wanted == end - begin;
      WDELTA_RETURN_IF_ERROR(is_whole ? ReadWhole(stream, begin, wanted, destination)
                                      : ReadPart(stream, offset, wanted, begin, end, destination));
      destination += wanted;
      offset += wanted;
      size -= wanted;
    }
    return absl::OkStatus();
  }

 private:
  absl::Status ReadWhole(uint32_t stream, uint64_t offset, size_t size, char* destination) const {
    return chunks_.Read(
        {digest_, stream, offset, size}, source_.get(), destination,
        [&](char* decoded) { return source_->Read(stream, offset, size, decoded); });
  }

  // Of the chunk [begin, end). A small part is no reason to keep the chunk; ranks that take
  // most of it each, row by row, share it.
  absl::Status ReadPart(uint32_t stream, uint64_t offset, size_t size, uint64_t begin, uint64_t end,
                        char* destination) const {
    const ChunkKey key{digest_, stream, begin, end - begin};
    ChunkCache::Bytes whole = chunks_.Find(key);
    if (whole == nullptr && size < key.size / 2) {
      chunks_.CountMiss();
      return source_->Read(stream, offset, size, destination);
    }
    if (whole == nullptr) {
      WDELTA_ASSIGN_OR_RETURN(
          whole, chunks_.FindOrDecode(key, source_.get(), ChunkCache::Keep::kWhenAskedAgain,
                                      [&](char* decoded) {
                                        return source_->Read(stream, begin, key.size, decoded);
                                      }));
    }
    std::copy_n(whole->data() + (offset - begin), size, destination);
    return absl::OkStatus();
  }

  const ContentSourcePtr source_;
  const Digest digest_;
  ChunkCache& chunks_;
};

}  // namespace

ContentSourcePtr NewCachedSource(ContentSourcePtr source, ChunkCache* chunks) {
  return std::make_shared<const CachedSource>(std::move(source), chunks);
}

}  // namespace wdelta

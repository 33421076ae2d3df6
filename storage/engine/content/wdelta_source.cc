#include "storage/engine/content/wdelta_source.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/codec/converted_parent.h"

namespace wdelta {
namespace {

// No chunk of a stream begins so far behind its start.
constexpr uint64_t kFactorsOffset = uint64_t{1} << 63;

// Whether what chunks are coded against is what the file says.
absl::Status CheckParentStream(const WdeltaStream& stream, const ContentSource* parent) {
  const auto refuse = [&](absl::string_view what) {
    return MakeError(absl::StatusCode::kDataLoss, "BAD_WDELTA",
                     absl::StrCat(".wdelta: stream '", stream.info.tensor.name, "': ", what));
  };
  if (parent == nullptr || *stream.parent_stream >= parent->checkpoint().streams.size()) {
    return refuse(absl::StrCat("the parent has no stream ", *stream.parent_stream));
  }
  const TensorInfo& found = parent->checkpoint().streams[*stream.parent_stream].tensor;
  if (stream.parent_dtype.value_or(found.dtype) != found.dtype) {
    return refuse(absl::StrCat("expected a parent of dtype ", DTypeName(*stream.parent_dtype),
                               ", found ", DTypeName(found.dtype)));
  }
  const TensorInfo& own = stream.info.tensor;
  if (stream.correction.has_value() &&
      (found.shape != own.shape || found.dtype != stream.parent_dtype.value_or(own.dtype))) {
    return refuse("expected a parent of the same shape, whose numbers can be corrected");
  }
  return absl::OkStatus();
}

}  // namespace

WdeltaSource::WdeltaSource(std::string name, std::shared_ptr<const WdeltaReader> reader,
                           ContentSourcePtr parent, CodecPool* codecs, ChunkCache* parent_chunks,
                           bool shares_factors)
    : name_(std::move(name)),
      reader_(std::move(reader)),
      parent_(std::move(parent)),
      codecs_(codecs),
      parent_chunks_(parent_chunks),
      shares_factors_(shares_factors) {
  checkpoint_.files = reader_->file().files;
  checkpoint_.streams.reserve(reader_->file().streams.size());
  for (const WdeltaStream& stream : reader_->file().streams) {
    checkpoint_.streams.push_back(stream.info);
  }
}

absl::StatusOr<ContentSourcePtr> WdeltaSource::Open(std::string name,
                                                    std::shared_ptr<const WdeltaReader> reader,
                                                    ContentSourcePtr parent, CodecPool* codecs,
                                                    ChunkCache* parent_chunks,
                                                    bool shares_factors) {
  const WdeltaFile& file = reader->file();
  std::optional<Digest> found;
  if (parent != nullptr) found = ModelDigest(parent->checkpoint().files);
  if (file.parent_digest != found) {
    const auto show = [](const std::optional<Digest>& digest) {
      return digest.has_value() ? absl::StrCat("sha256:", digest->ToHex()) : "none";
    };
    return MakeError(absl::StatusCode::kFailedPrecondition, "WRONG_PARENT",
                     absl::StrCat(".wdelta: expected parent ", show(file.parent_digest), ", found ",
                                  show(found)));
  }
  for (const WdeltaStream& stream : file.streams) {
    if (!stream.parent_stream.has_value()) continue;
    WDELTA_RETURN_IF_ERROR(CheckParentStream(stream, parent.get()));
  }
  return ContentSourcePtr(new WdeltaSource(std::move(name), std::move(reader), std::move(parent),
                                           codecs, parent_chunks, shares_factors));
}

std::optional<Digest> WdeltaSource::StreamDigest(uint32_t stream) const {
  return reader_->file().streams[stream].sha256;
}

absl::StatusOr<ChunkCache::Bytes> WdeltaSource::ReadParent(ChunkCache::Keep keep,
                                                           uint32_t parent_stream, uint64_t offset,
                                                           uint64_t size) const {
  const ChunkKey key{*reader_->file().parent_digest, parent_stream, offset, size};
  return parent_chunks_->FindOrDecode(key, parent_.get(), keep, [&](char* destination) {
    return parent_->ReadForChild(parent_stream, offset, size, destination);
  });
}

absl::StatusOr<ChunkCache::Bytes> WdeltaSource::ReadFactors(uint32_t stream) const {
  {
    absl::MutexLock lock(&factors_mutex_);
    if (factors_ != nullptr && factors_stream_ == stream) return factors_;
  }
  ChunkCache::Bytes found;
  if (shares_factors_) {
    WDELTA_ASSIGN_OR_RETURN(found, ReadSharedFactors(stream));
  } else {
    WDELTA_ASSIGN_OR_RETURN(std::string read, reader_->ReadFactors(stream));
    found = std::make_shared<const std::string>(std::move(read));
  }
  absl::MutexLock lock(&factors_mutex_);
  factors_stream_ = stream;
  factors_ = found;
  return found;
}

absl::StatusOr<ChunkCache::Bytes> WdeltaSource::ReadSharedFactors(uint32_t stream) const {
  const WdeltaStream& info = reader_->file().streams[stream];
  // Another form of the same model may have other factors: the key tells them apart.
  const ChunkKey key{reader_->file().model_digest, stream,
                     info.correction->payload_xxh3 | kFactorsOffset,
                     *FactorBytes(info.info.tensor, info.correction->form)};
  return parent_chunks_->FindOrDecode(
      key, this, ChunkCache::Keep::kAlways, [&](char* destination) -> absl::Status {
        WDELTA_ASSIGN_OR_RETURN(const std::string factors, reader_->ReadFactors(stream));
        std::memcpy(destination, factors.data(), factors.size());
        return absl::OkStatus();
      });
}

absl::StatusOr<WdeltaSource::ParentBytes> WdeltaSource::ReadParentOf(ChunkCache::Keep keep,
                                                                     uint32_t stream,
                                                                     const ChunkSpan& span) const {
  const WdeltaStream& info = reader_->file().streams[stream];
  const uint32_t parent_stream = *info.parent_stream;
  const uint64_t parent_bytes = parent_->checkpoint().streams[parent_stream].tensor.size_bytes;
  const ChunkSpan from =
      SpanInParent(span, info.info.tensor.dtype, info.parent_dtype, parent_bytes);
  ParentBytes parent;
  uint64_t begin = from.offset_bytes;
  uint64_t end = from.offset_bytes + from.size_bytes;
  if (info.parent_dtype.has_value()) {
    // Whole chunks of the parent, which several chunks of a wider dtype find in the cache.
    begin -= begin % limits::kChunkBytes;
    end += (limits::kChunkBytes - end % limits::kChunkBytes) % limits::kChunkBytes;
    end = std::min(parent_bytes, end);
  }
  WDELTA_ASSIGN_OR_RETURN(parent.owner, ReadParent(keep, parent_stream, begin, end - begin));
  parent.bytes =
      absl::string_view(*parent.owner).substr(from.offset_bytes - begin, from.size_bytes);
  return parent;
}

absl::Status WdeltaSource::ReadChunk(ChunkCache::Keep keep, uint32_t stream, uint64_t chunk,
                                     const ChunkSpan& span, ChunkPart part) const {
  const WdeltaStream& info = reader_->file().streams[stream];
  std::optional<ParentBytes> parent;
  ChunkCache::Bytes factors;
  if (reader_->ChunkNeedsParent(stream, chunk)) {
    WDELTA_ASSIGN_OR_RETURN(parent, ReadParentOf(keep, stream, span));
    if (info.correction.has_value()) {
      WDELTA_ASSIGN_OR_RETURN(factors, ReadFactors(stream));
    }
  }
  // Not before the parent is there: all layers of a chain share the scratch, which stays in the
  // processor's cache.
  CodecPool::Lease lease = codecs_->Borrow();
  CodecPool::Worker& worker = *lease.get();
  std::optional<absl::string_view> against;
  if (parent.has_value()) {
    against = parent->bytes;
    if (info.parent_dtype.has_value()) {
      ConvertNumbers(*info.parent_dtype, parent->bytes, info.info.tensor.dtype, worker.parent);
      against = worker.parent;
    }
    if (factors != nullptr) {
      if (!info.parent_dtype.has_value())
        worker.parent.assign(parent->bytes.data(), parent->bytes.size());
      CorrectNumbers(info.info.tensor, info.correction->form, *factors, span.offset_bytes,
                     worker.parent, worker.factors);
      against = worker.parent;
    }
  }
  if (part.size == span.size_bytes) {
    return reader_->DecodeChunk(worker.codec, stream, chunk, against, part.destination);
  }
  worker.chunk.resize(span.size_bytes);
  WDELTA_RETURN_IF_ERROR(
      reader_->DecodeChunk(worker.codec, stream, chunk, against, worker.chunk.data()));
  std::memcpy(part.destination, worker.chunk.data() + part.offset, part.size);
  return absl::OkStatus();
}

absl::Status WdeltaSource::Read(uint32_t stream, uint64_t offset, size_t size,
                                char* destination) const {
  const absl::Status status =
      ReadUnnamed(ChunkCache::Keep::kAlways, stream, offset, size, destination);
  return status.ok() ? status : Annotate(status, name_);
}

absl::Status WdeltaSource::ReadForChild(uint32_t stream, uint64_t offset, size_t size,
                                        char* destination) const {
  const absl::Status status =
      ReadUnnamed(ChunkCache::Keep::kWhenAskedAgain, stream, offset, size, destination);
  return status.ok() ? status : Annotate(status, name_);
}

absl::Status WdeltaSource::ReadUnnamed(ChunkCache::Keep keep, uint32_t stream, uint64_t offset,
                                       size_t size, char* destination) const {
  const WdeltaFile& file = reader_->file();
  const WdeltaStream& info = file.streams[stream];
  while (size > 0) {
    const uint64_t chunk = offset / file.chunk_bytes;
    const ChunkSpan span = SpanOfChunk(file, info, chunk);
    const uint64_t skip = offset - span.offset_bytes;
    const size_t wanted = std::min<uint64_t>(size, span.size_bytes - skip);
    WDELTA_RETURN_IF_ERROR(ReadChunk(keep, stream, chunk, span, {skip, wanted, destination}));
    destination += wanted;
    offset += wanted;
    size -= wanted;
  }
  return absl::OkStatus();
}

}  // namespace wdelta

#include "storage/engine/wdelta_source.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/codec/converted_parent.h"

namespace wdelta {

WdeltaSource::WdeltaSource(std::string name, std::shared_ptr<const WdeltaReader> reader,
                           ContentSourcePtr parent, CodecPool* codecs, ChunkCache* parent_chunks)
    : name_(std::move(name)),
      reader_(std::move(reader)),
      parent_(std::move(parent)),
      codecs_(codecs),
      parent_chunks_(parent_chunks) {
  checkpoint_.files = reader_->file().files;
  checkpoint_.streams.reserve(reader_->file().streams.size());
  for (const WdeltaStream& stream : reader_->file().streams) {
    checkpoint_.streams.push_back(stream.info);
  }
}

absl::StatusOr<ContentSourcePtr> WdeltaSource::Open(std::string name,
                                                    std::shared_ptr<const WdeltaReader> reader,
                                                    ContentSourcePtr parent, CodecPool* codecs,
                                                    ChunkCache* parent_chunks) {
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
    if (parent == nullptr || *stream.parent_stream >= parent->checkpoint().streams.size()) {
      return MakeError(absl::StatusCode::kDataLoss, "BAD_WDELTA",
                       absl::StrCat(".wdelta: stream '", stream.info.tensor.name,
                                    "': the parent has no stream ", *stream.parent_stream));
    }
    const DType found_dtype = parent->checkpoint().streams[*stream.parent_stream].tensor.dtype;
    if (stream.parent_dtype.value_or(found_dtype) != found_dtype) {
      return MakeError(
          absl::StatusCode::kDataLoss, "BAD_WDELTA",
          absl::StrCat(".wdelta: stream '", stream.info.tensor.name,
                       "': expected a parent of dtype ", DTypeName(*stream.parent_dtype),
                       ", found ", DTypeName(found_dtype)));
    }
  }
  return ContentSourcePtr(new WdeltaSource(std::move(name), std::move(reader), std::move(parent),
                                           codecs, parent_chunks));
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

absl::Status WdeltaSource::ReadChunk(CodecPool::Worker& worker, ChunkCache::Keep keep,
                                     uint32_t stream, uint64_t chunk, char* destination) const {
  if (!reader_->ChunkNeedsParent(stream, chunk)) {
    return reader_->DecodeChunk(worker.codec, stream, chunk, std::nullopt, destination);
  }
  const WdeltaStream& info = reader_->file().streams[stream];
  const ChunkSpan span = SpanOfChunk(reader_->file(), info, chunk);
  const uint32_t parent_stream = *info.parent_stream;
  const uint64_t parent_bytes = parent_->checkpoint().streams[parent_stream].tensor.size_bytes;
  const ChunkSpan from =
      SpanInParent(span, info.info.tensor.dtype, info.parent_dtype, parent_bytes);
  if (!info.parent_dtype.has_value()) {
    WDELTA_ASSIGN_OR_RETURN(const ChunkCache::Bytes parent,
                            ReadParent(keep, parent_stream, from.offset_bytes, from.size_bytes));
    return reader_->DecodeChunk(worker.codec, stream, chunk, *parent, destination);
  }
  // Whole chunks of the parent, which several chunks of a wider dtype find in the cache.
  const uint64_t begin = from.offset_bytes - from.offset_bytes % limits::kChunkBytes;
  const uint64_t end = from.offset_bytes + from.size_bytes;
  const uint64_t rounded_end = std::min(
      parent_bytes, end + (limits::kChunkBytes - end % limits::kChunkBytes) % limits::kChunkBytes);
  WDELTA_ASSIGN_OR_RETURN(const ChunkCache::Bytes parent,
                          ReadParent(keep, parent_stream, begin, rounded_end - begin));
  ConvertNumbers(*info.parent_dtype,
                 absl::string_view(*parent).substr(from.offset_bytes - begin, from.size_bytes),
                 info.info.tensor.dtype, worker.parent);
  return reader_->DecodeChunk(worker.codec, stream, chunk, worker.parent, destination);
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
  CodecPool::Lease worker = codecs_->Borrow();
  while (size > 0) {
    const uint64_t chunk = offset / file.chunk_bytes;
    const ChunkSpan span = SpanOfChunk(file, info, chunk);
    const uint64_t skip = offset - span.offset_bytes;
    const size_t wanted = std::min<uint64_t>(size, span.size_bytes - skip);
    if (wanted == span.size_bytes) {
      WDELTA_RETURN_IF_ERROR(ReadChunk(*worker.get(), keep, stream, chunk, destination));
    } else {
      worker->chunk.resize(span.size_bytes);
      WDELTA_RETURN_IF_ERROR(ReadChunk(*worker.get(), keep, stream, chunk, worker->chunk.data()));
      std::memcpy(destination, worker->chunk.data() + skip, wanted);
    }
    destination += wanted;
    offset += wanted;
    size -= wanted;
  }
  return absl::OkStatus();
}

}  // namespace wdelta

#include "storage/engine/encoding/chunk_encoder.h"

#include <utility>

#include "storage/base/checksum.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/encoding/storage_plan.h"

namespace wdelta {
namespace {

absl::Status EncodeWithLoss(ChunkCodec& codec, const TensorInfo& tensor,
                            std::optional<absl::string_view> parent, const LossyParams& params,
                            ChunkResult& result) {
  if (!parent.has_value()) return absl::InternalError("a lossy tensor without parent bytes");
  WDELTA_ASSIGN_OR_RETURN(LossyChunk chunk,
                          codec.EncodeLossy(tensor.dtype, GeometryOf(tensor, result.at.offset),
                                            result.bytes, *parent, params));
  WDELTA_ASSIGN_OR_RETURN(result.error,
                          MeasureDelta(tensor.dtype, chunk.reconstructed, result.bytes));
  result.encoded = std::move(chunk.chunk);
  result.content_xxh3 = Xxh3(chunk.reconstructed);
  result.reconstructed = std::move(chunk.reconstructed);
  return absl::OkStatus();
}

}  // namespace

std::optional<DType> ParentDTypeOf(const DeltaEncoderInput& input, uint32_t stream) {
  if (!input.parent_streams[stream].has_value()) return std::nullopt;
  return ConvertedDType(input.target->checkpoint().streams[stream].tensor,
                        input.parent->checkpoint().streams[*input.parent_streams[stream]].tensor);
}

ChunkEncoder::ChunkEncoder(const DeltaEncoderInput& input) : input_(input) {
  if (input.parent != nullptr) parent_digest_ = ModelDigest(input.parent->checkpoint().files);
}

bool ChunkEncoder::HasStoredParent(uint32_t stream) const {
  const std::shared_ptr<const WdeltaReader> stored = input_.target->stored();
  if (stored == nullptr) return false;
  const WdeltaStream& found = stored->file().streams[stream];
  return stored->file().parent_digest == parent_digest_ &&
         found.parent_stream == input_.parent_streams[stream] &&
         found.parent_dtype == ParentDTypeOf(input_, stream);
}

absl::StatusOr<std::optional<absl::string_view>> ChunkEncoder::ReadParent(
    const ChunkRef& at, std::string& buffer) const {
  return ReadParentChunk(input_.parent.get(), input_.parent_streams[at.stream],
                         input_.target->checkpoint().streams[at.stream].tensor, at, buffer);
}

absl::StatusOr<ReadChunk> ChunkEncoder::Read(const ChunkRef& at) const {
  ReadChunk read;
  read.bytes.resize(at.size);
  WDELTA_RETURN_IF_ERROR(input_.target->Read(at.stream, at.offset, at.size, read.bytes.data()));
  std::string buffer;
  WDELTA_ASSIGN_OR_RETURN(const std::optional<absl::string_view> parent, ReadParent(at, buffer));
  if (parent.has_value()) read.parent = std::move(buffer);
  return read;
}

absl::Status ChunkEncoder::Encode(const ChunkRef& at, const CorrectionPtr& correction,
                                  ReadChunk* read, ChunkResult& result) {
  result.at = at;
  result.correction = correction;
  if (at.size == 0) return absl::OkStatus();
  CodecPool::Lease worker = codecs_.Borrow();
  std::optional<absl::string_view> parent;
  if (read != nullptr) {
    result.bytes = std::move(read->bytes);
    if (read->parent.has_value()) {
      worker->parent.swap(*read->parent);
      parent = worker->parent;
    }
  } else {
    result.bytes.resize(at.size);
    WDELTA_RETURN_IF_ERROR(input_.target->Read(at.stream, at.offset, at.size, result.bytes.data()));
    WDELTA_ASSIGN_OR_RETURN(parent, ReadParent(at, worker->parent));
  }
  return EncodeOver(parent, *worker.get(), result);
}

absl::Status ChunkEncoder::EncodeOver(std::optional<absl::string_view> parent,
                                      CodecPool::Worker& worker, ChunkResult& result) {
  const ChunkRef& at = result.at;
  const TensorInfo& tensor = input_.target->checkpoint().streams[at.stream].tensor;
  const LossyStream* lossy = input_.lossy == nullptr ? nullptr : input_.lossy->Find(at.stream);
  if (lossy != nullptr && lossy->params.strategy != Strategy::kLossless) {
    return EncodeWithLoss(worker.codec, tensor, parent, lossy->params, result);
  }
  if (result.correction != nullptr) {
    const Correction& correction = result.correction->correction;
    CorrectNumbers(tensor, correction.form, correction.factors, at.offset, worker.parent,
                   worker.factors);
  }
  result.content_xxh3 = Xxh3(result.bytes);
  WDELTA_ASSIGN_OR_RETURN(result.encoded,
                          worker.codec.Encode(LaneFormatOf(tensor.dtype), result.bytes, parent,
                                              input_.effort, GeometryOf(tensor, at.offset)));
  return TakeStoredIfSmaller(result);
}

absl::Status ChunkEncoder::TakeStoredIfSmaller(ChunkResult& result) const {
  const std::shared_ptr<const WdeltaReader> stored = input_.target->stored();
  if (stored == nullptr) return absl::OkStatus();
  const WdeltaFile& file = stored->file();
  if (file.chunk_bytes != limits::kChunkBytes) return absl::OkStatus();
  const WdeltaStream& stream = file.streams[result.at.stream];
  const uint64_t chunk_index = result.at.offset / limits::kChunkBytes;
  const WdeltaChunk& chunk = file.chunks[stream.first_chunk + chunk_index];
  const CorrectionPtr& correction = result.correction;
  const bool same_correction = stream.correction.has_value()
                                   ? correction != nullptr && correction->is_stored
                                   : correction == nullptr;
  if (NeedsParent(chunk.mode) && !(same_correction && HasStoredParent(result.at.stream))) {
    return absl::OkStatus();
  }
  if (chunk.payload_bytes > result.encoded.payload.size()) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(result.encoded.payload,
                          stored->ReadPayload(result.at.stream, chunk_index));
  result.encoded.mode = chunk.mode;
  return absl::OkStatus();
}

}  // namespace wdelta

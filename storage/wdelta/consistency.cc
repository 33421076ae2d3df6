// The rules of FORMAT.md that tie the tables of a file together.
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/codec/converted_parent.h"
#include "storage/wdelta/format.h"
#include "storage/wdelta/metadata.h"

namespace wdelta {
namespace {

absl::Status CheckFiles(const WdeltaFile& file) {
  for (size_t i = 0; i < file.files.size(); ++i) {
    const CheckpointFile& entry = file.files[i];
    const absl::Status path = ValidateCheckpointPath(entry.path);
    if (!path.ok()) return BadWdelta(absl::StrCat("file ", i, ": ", path.message()));
    if (i > 0 && file.files[i - 1].path >= entry.path) {
      return BadWdelta(absl::StrCat("file ", i, ": expected a path after `", file.files[i - 1].path,
                                    "`, found `", entry.path, "`"));
    }
    if (entry.size_bytes > limits::kMaxFileBytes) {
      return BadWdelta(absl::StrCat("file `", entry.path, "`: expected at most ",
                                    limits::kMaxFileBytes, " bytes, found ", entry.size_bytes));
    }
  }
  const Digest expected = ModelDigest(file.files);
  if (file.model_digest != expected) {
    return BadWdelta(absl::StrCat("model_digest: expected ", expected.ToHex(), ", found ",
                                  file.model_digest.ToHex()));
  }
  return absl::OkStatus();
}

// Kind, name, dtype and shape of one stream, the `index_in_file`-th of its file.
absl::Status CheckStream(const WdeltaFile& file, uint64_t index, uint64_t index_in_file) {
  const WdeltaStream& stream = file.streams[index];
  const StreamInfo& info = stream.info;
  const bool is_safetensors = file.files[info.file_index].is_safetensors;
  const StreamKind expected = !is_safetensors      ? StreamKind::kSideFile
                              : index_in_file == 0 ? StreamKind::kHeader
                                                   : StreamKind::kTensor;
  if (info.kind != expected || (!is_safetensors && index_in_file > 0)) {
    return BadWdelta(absl::StrCat(DescribeStream(file, index), ": kind ",
                                  static_cast<int>(info.kind), " is out of place in `",
                                  file.files[info.file_index].path, "`"));
  }
  const absl::StatusOr<uint64_t> size = TensorBytes(info.tensor.dtype, info.tensor.shape);
  if (!size.ok() || *size != info.tensor.size_bytes) {
    return BadWdelta(absl::StrCat(DescribeStream(file, index), ": size ", info.tensor.size_bytes,
                                  " does not match dtype and shape"));
  }
  const bool is_plain =
      info.tensor.name.empty() && info.tensor.dtype == DType::kU8 && info.tensor.shape.size() == 1;
  if (info.kind != StreamKind::kTensor && !is_plain) {
    return BadWdelta(absl::StrCat(DescribeStream(file, index),
                                  ": expected no name, dtype U8 and one dimension"));
  }
  if (info.tensor.name.size() > limits::kMaxTensorNameBytes ||
      info.tensor.shape.size() > static_cast<size_t>(limits::kMaxTensorDimensions)) {
    return BadWdelta(absl::StrCat(DescribeStream(file, index), ": name or shape too long"));
  }
  if (stream.parent_stream.has_value() && !file.parent_digest.has_value()) {
    return BadWdelta(
        absl::StrCat(DescribeStream(file, index), ": parent_stream without a parent_digest"));
  }
  if (stream.parent_dtype.has_value() &&
      (!stream.parent_stream.has_value() || info.kind != StreamKind::kTensor ||
       !CanConvert(*stream.parent_dtype, info.tensor.dtype))) {
    return BadWdelta(absl::StrCat(DescribeStream(file, index), ": parent_dtype ",
                                  DTypeName(*stream.parent_dtype),
                                  ": expected a parent_stream, and another one of F16, BF16, F32 "
                                  "and F64 than the stream's own"));
  }
  if (stream.correction.has_value() &&
      (!stream.parent_stream.has_value() || info.kind != StreamKind::kTensor ||
       !FactorBytes(info.tensor, stream.correction->form).has_value())) {
    return BadWdelta(absl::StrCat(DescribeStream(file, index), ": correction of rank ",
                                  stream.correction->form.rank, " and dtype ",
                                  DTypeName(stream.correction->form.factor_dtype),
                                  ": expected a parent_stream and a tensor that can have one"));
  }
  return absl::OkStatus();
}

// Streams fill the files, in order and without a hole.
absl::Status CheckStreams(const WdeltaFile& file) {
  uint64_t stream = 0;
  for (uint64_t f = 0; f < file.files.size(); ++f) {
    const CheckpointFile& entry = file.files[f];
    uint64_t filled_bytes = 0;
    uint64_t index_in_file = 0;
    for (; stream < file.streams.size() && file.streams[stream].info.file_index == f; ++stream) {
      WDELTA_RETURN_IF_ERROR(CheckStream(file, stream, index_in_file));
      const TensorInfo& tensor = file.streams[stream].info.tensor;
      if (tensor.offset_bytes != filled_bytes ||
          tensor.size_bytes > entry.size_bytes - filled_bytes) {
        return BadWdelta(absl::StrCat(DescribeStream(file, stream), ": expected offset ",
                                      filled_bytes, " and at most ",
                                      entry.size_bytes - filled_bytes, " bytes, found ",
                                      tensor.offset_bytes, " and ", tensor.size_bytes));
      }
      filled_bytes += tensor.size_bytes;
      ++index_in_file;
    }
    if (index_in_file == 0 || filled_bytes != entry.size_bytes) {
      return BadWdelta(absl::StrCat("file `", entry.path, "`: expected streams of ",
                                    entry.size_bytes, " bytes, found ", index_in_file, " of ",
                                    filled_bytes));
    }
  }
  if (stream != file.streams.size()) {
    return BadWdelta(absl::StrCat("stream ", stream, ": file_index ",
                                  file.streams[stream].info.file_index, " is out of order"));
  }
  return absl::OkStatus();
}

absl::Status CheckChunk(const WdeltaFile& file, uint64_t stream, uint64_t index_in_stream) {
  const WdeltaStream& owner = file.streams[stream];
  const WdeltaChunk& chunk = file.chunks[owner.first_chunk + index_in_stream];
  const auto where = [&] {
    return absl::StrCat(DescribeStream(file, stream), " chunk ", index_in_stream);
  };
  const uint64_t decoded_bytes = SpanOfChunk(file, owner, index_in_stream).size_bytes;
  if (chunk.payload_bytes > decoded_bytes) {
    return BadWdelta(absl::StrCat(where(), ": expected a payload of at most ", decoded_bytes,
                                  " bytes, found ", chunk.payload_bytes));
  }
  if (NeedsParent(chunk.mode) && !owner.parent_stream.has_value()) {
    return BadWdelta(absl::StrCat(where(), ": mode ", ChunkModeName(chunk.mode),
                                  " in a stream without parent_stream"));
  }
  return absl::OkStatus();
}

// Chunks fill the streams, and their payloads the file up to `payload_end`.
absl::Status CheckChunks(const WdeltaFile& file, uint64_t payload_end) {
  uint64_t chunk_index = 0;
  uint64_t offset = format::kPreambleBytes;
  for (uint64_t s = 0; s < file.streams.size(); ++s) {
    const WdeltaStream& stream = file.streams[s];
    const uint64_t expected = ChunkCountOf(stream.info.tensor.size_bytes, file.chunk_bytes);
    if (stream.first_chunk != chunk_index || stream.chunk_count != expected ||
        expected > file.chunks.size() - chunk_index) {
      return BadWdelta(absl::StrCat(DescribeStream(file, s), ": expected ", expected,
                                    " chunks from ", chunk_index, ", found ", file.chunks.size(),
                                    " in all"));
    }
    if (stream.correction.has_value()) {
      offset += *FactorBytes(stream.info.tensor, stream.correction->form);
    }
    for (uint64_t i = 0; i < expected; ++i, ++chunk_index) {
      WDELTA_RETURN_IF_ERROR(CheckChunk(file, s, i));
      offset += file.chunks[chunk_index].payload_bytes;
    }
  }
  if (chunk_index != file.chunks.size()) {
    return BadWdelta(
        absl::StrCat("chunk count: expected ", chunk_index, ", found ", file.chunks.size()));
  }
  if (offset != payload_end) {
    return BadWdelta(absl::StrCat("payloads: expected to end at metadata_offset ", payload_end,
                                  ", found ", offset));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckConsistency(const WdeltaFile& file, uint64_t payload_end) {
  WDELTA_RETURN_IF_ERROR(CheckFiles(file));
  WDELTA_RETURN_IF_ERROR(CheckStreams(file));
  return CheckChunks(file, payload_end);
}

}  // namespace wdelta

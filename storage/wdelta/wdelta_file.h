// `.wdelta` version 2: what a file says beside its chunk payloads.
// The bytes are specified in FORMAT.md; wdelta_writer.h and wdelta_reader.h are the
// only code that knows them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "storage/base/digest.h"
#include "storage/codec/codec.h"
#include "storage/codec/correction.h"
#include "storage/codec/lossy.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {

inline constexpr uint32_t kWdeltaVersion = 2;

struct WdeltaChunk {
  ChunkMode mode = ChunkMode::kRaw;
  uint64_t payload_offset = 0;  // from the start of the file
  uint32_t payload_bytes = 0;
  uint32_t payload_crc32c = 0;
  uint64_t content_xxh3 = 0;  // of the decoded bytes
};

// Factors that correct the parent's numbers before chunks are coded against them.
struct WdeltaCorrection {
  CorrectionForm form;
  uint64_t payload_offset = 0;  // from the start of the file; of FactorBytes
  uint32_t payload_crc32c = 0;
  uint64_t payload_xxh3 = 0;
};

struct WdeltaStream {
  StreamInfo info;
  Digest sha256;  // of the stream's decoded bytes
  // Stream of the parent that chunks are coded against, by index in its table. The
  // parent's bytes at the same offset are taken; it may be shorter or longer.
  std::optional<uint32_t> parent_stream;
  // Of the parent's stream where its numbers are converted; chunks are coded against the
  // numbers at the same index.
  std::optional<DType> parent_dtype;
  std::optional<WdeltaCorrection> correction;
  uint64_t first_chunk = 0;  // in WdeltaFile::chunks
  uint64_t chunk_count = 0;
};

// What coding with loss did to a stream, measured on its decoded bytes.
struct WdeltaStreamFidelity {
  uint32_t stream = 0;
  Strategy strategy = Strategy::kLossless;  // never kAuto
  double squared_error = 0;                 // sum over the weights: decoded less uploaded
  double squared_delta = 0;                 // likewise: uploaded less the parent's
  double max_absolute_error = 0;

  double RelativeError() const;  // sqrt(squared_error / squared_delta); 0 without delta
};

struct WdeltaFidelity {
  Digest uploaded_digest;  // model digest of the files before coding
  // Streams that might be coded with loss, in order; all others are as uploaded.
  std::vector<WdeltaStreamFidelity> streams;
};

// As the command line spells it: `near-lossless`, `onebit`…
absl::string_view StrategyName(Strategy strategy);

struct WdeltaFile {
  Digest model_digest;                  // ModelDigest of `files`
  std::optional<Digest> parent_digest;  // model digest of the parent
  uint64_t chunk_bytes = 0;             // decoded size of all but a stream's last chunk
  std::vector<CheckpointFile> files;
  std::vector<WdeltaStream> streams;
  std::vector<WdeltaChunk> chunks;         // in order of stream, then position
  std::optional<WdeltaFidelity> fidelity;  // only where loss was allowed
  uint64_t file_bytes = 0;                 // of the `.wdelta` itself
};

// Position and size of chunk `index_in_stream` within its decoded stream.
struct ChunkSpan {
  uint64_t offset_bytes = 0;
  uint64_t size_bytes = 0;
};
ChunkSpan SpanOfChunk(const WdeltaFile& file, const WdeltaStream& stream, uint64_t index_in_stream);

// Of all chunks of a stream, and its correction's.
uint64_t PayloadBytesOf(const WdeltaFile& file, const WdeltaStream& stream);

// The part of a parent's stream of `parent_bytes` that bytes `span` of a stream of `dtype` are
// coded against; shorter, or empty, where that stream ends before. `parent_dtype`: only where
// it is converted.
ChunkSpan SpanInParent(ChunkSpan span, DType dtype, std::optional<DType> parent_dtype,
                       uint64_t parent_bytes);

}  // namespace wdelta

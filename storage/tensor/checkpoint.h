// A checkpoint: safetensors shards plus side files, as one list of streams.
//
// A stream is a run of bytes that is stored, chunked and decoded on its own: the
// header of a shard (length field, JSON, padding), one tensor, or a whole side
// file. The streams of a file, in order, are exactly the file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/digest.h"
#include "storage/base/file_system.h"
#include "storage/tensor/safetensors.h"
#include "storage/tensor/tensor_info.h"

namespace wdelta {

// Values are part of the `.wdelta` format.
enum class StreamKind : uint8_t { kTensor = 1, kHeader = 2, kSideFile = 3 };

struct StreamInfo {
  StreamKind kind = StreamKind::kSideFile;
  uint32_t file_index = 0;
  // Tensor: name, dtype, shape. Header, side file: name is empty, dtype U8, shape
  // [size_bytes]. Offset is from the start of the file.
  TensorInfo tensor;
};

struct CheckpointFile {
  std::string path;
  uint64_t size_bytes = 0;
  Digest sha256;
  bool is_safetensors = false;
};

struct Checkpoint {
  std::vector<CheckpointFile> files;  // in order of path
  std::vector<StreamInfo> streams;    // in order of file, then offset
};

// One path within a checkpoint folder: relative, `/`-separated, UTF-8, no empty,
// `.` or `..` part, no backslash or control character, at most kMaxPathBytes.
// INVALID_ARGUMENT (reason `BAD_PATH`) says which rule was broken.
absl::Status ValidateCheckpointPath(absl::string_view path);

bool IsSafetensorsPath(absl::string_view path);
// An index of shards: `….safetensors.index.json`.
bool IsIndexPath(absl::string_view path);

// Appends the streams of one file. `layout` is null for a side file. An empty
// side file gives one stream of size 0.
void AppendStreams(uint32_t file_index, uint64_t file_bytes, const SafetensorsLayout* layout,
                   std::vector<StreamInfo>& streams);

// SHA-256 over the lines `<sha256 hex> <size> <path>\n` in order of path: the
// model digest. `files` must be sorted by path.
Digest ModelDigest(const std::vector<CheckpointFile>& files);

// Before such a file is read: INVALID_ARGUMENT (reason `BAD_INDEX`) beyond kMaxIndexJsonBytes.
absl::Status CheckIndexSize(absl::string_view index_path, uint64_t size_bytes);

// Checks the content of a file for which IsIndexPath holds: valid JSON whose
// `weight_map` names only shards in `files`, relative to the index's folder, and
// tensors that are in them. INVALID_ARGUMENT (reason `BAD_INDEX`) names the tensor
// or shard.
absl::Status ValidateIndex(absl::string_view index_path, absl::string_view json,
                           const Checkpoint& checkpoint);

}  // namespace wdelta

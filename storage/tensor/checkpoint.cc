#include "storage/tensor/checkpoint.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/base/utf8.h"
#include "storage/tensor/json_text.h"

namespace wdelta {
namespace {

constexpr absl::string_view kWeightMapKey = "weight_map";

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

absl::Status BadPath(absl::string_view path, absl::string_view expected) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PATH",
                   absl::StrCat("path ", Excerpt(path), ": expected ", expected));
}

StreamInfo WholeBytes(StreamKind kind, uint32_t file_index, uint64_t size_bytes) {
  return {.kind = kind,
          .file_index = file_index,
          .tensor = {.dtype = DType::kU8, .shape = {size_bytes}, .size_bytes = size_bytes}};
}

// Where the tensors of a checkpoint are. Views are into the checkpoint, which
// must outlive it.
class TensorPlaces {
 public:
  explicit TensorPlaces(const Checkpoint& checkpoint) {
    for (uint32_t i = 0; i < checkpoint.files.size(); ++i) {
      if (checkpoint.files[i].is_safetensors) shards_.emplace(checkpoint.files[i].path, i);
    }
    for (const StreamInfo& stream : checkpoint.streams) {
      if (stream.kind != StreamKind::kTensor) continue;
      tensors_.emplace(stream.tensor.name, stream.file_index);
    }
  }

  bool HasShard(absl::string_view path) const { return shards_.contains(path); }
  bool HasTensor(absl::string_view name, absl::string_view shard_path) const {
    const auto shard = shards_.find(shard_path);
    return shard != shards_.end() && tensors_.contains({name, shard->second});
  }

 private:
  absl::flat_hash_map<absl::string_view, uint32_t> shards_;
  absl::flat_hash_set<std::pair<absl::string_view, uint32_t>> tensors_;
};

// Checks `weight_map` and passes over everything else in an index.
class IndexVisitor final : public JsonVisitor {
 public:
  // `folder` is empty or ends with a slash.
  IndexVisitor(absl::string_view folder, const TensorPlaces& places)
      : folder_(folder), places_(places) {}

  bool has_weight_map() const { return has_weight_map_; }

  absl::Status OnStartObject() override {
    if (in_weight_map_) return UnexpectedShard("an object");
    ++depth_;
    if (depth_ == 2 && key_ == kWeightMapKey) {
      if (has_weight_map_) return Invalid("weight_map: expected once, found twice");
      has_weight_map_ = true;
      in_weight_map_ = true;
    }
    return absl::OkStatus();
  }
  absl::Status OnKey(std::string key) override {
    if (in_weight_map_ || depth_ == 1) key_ = std::move(key);
    return absl::OkStatus();
  }
  absl::Status OnEndObject() override {
    in_weight_map_ = false;
    --depth_;
    return absl::OkStatus();
  }
  absl::Status OnStartArray() override {
    WDELTA_RETURN_IF_ERROR(CheckOther("an array"));
    ++depth_;
    return absl::OkStatus();
  }
  absl::Status OnEndArray() override {
    --depth_;
    return absl::OkStatus();
  }
  absl::Status OnScalar(JsonScalar scalar) override {
    if (in_weight_map_ && scalar.kind == JsonScalar::Kind::kString) return OnShard(scalar.text);
    return CheckOther(scalar.kind == JsonScalar::Kind::kString ? Excerpt(scalar.text)
                                                               : scalar.text.substr(0, 80));
  }

 private:
  absl::Status UnexpectedShard(absl::string_view found) const {
    return Invalid("weight_map: tensor ", Excerpt(key_), ": expected the name of a shard, found ",
                   found);
  }
  // Of a value that is neither an object nor a shard.
  absl::Status CheckOther(absl::string_view found) const {
    if (depth_ == 0) return Invalid("expected an object, found ", found);
    if (in_weight_map_) return UnexpectedShard(found);
    if (depth_ == 1 && key_ == kWeightMapKey) {
      return Invalid("weight_map: expected an object, found ", found);
    }
    return absl::OkStatus();
  }
  absl::Status OnShard(absl::string_view shard) {
    const std::string path = absl::StrCat(folder_, shard);
    if (!places_.HasShard(path)) {
      return Invalid("weight_map: tensor ", Excerpt(key_),
                     ": expected a shard of the checkpoint, found ", Excerpt(shard));
    }
    if (!places_.HasTensor(key_, path)) {
      return Invalid("weight_map: tensor ", Excerpt(key_), ": expected in shard ", Excerpt(shard),
                     ", found no such tensor there");
    }
    if (!seen_.insert(key_).second) {
      return Invalid("weight_map: tensor ", Excerpt(key_), ": expected once, found twice");
    }
    return absl::OkStatus();
  }

  const absl::string_view folder_;
  const TensorPlaces& places_;
  int depth_ = 0;
  bool has_weight_map_ = false;
  bool in_weight_map_ = false;
  std::string key_;  // last key of the root or of the weight map
  absl::flat_hash_set<std::string> seen_;
};

absl::Status CheckIndex(absl::string_view index_path, absl::string_view json,
                        const Checkpoint& checkpoint) {
  const size_t slash = index_path.rfind('/');
  const size_t folder_size = slash == absl::string_view::npos ? 0 : slash + 1;
  const TensorPlaces places(checkpoint);
  IndexVisitor visitor(index_path.substr(0, folder_size), places);
  WDELTA_RETURN_IF_ERROR(VisitJson(json, visitor));
  if (!visitor.has_weight_map()) return Invalid("weight_map: expected an object, found none");
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateCheckpointPath(absl::string_view path) {
  if (path.empty()) return BadPath(path, "a relative path, found none");
  if (path.size() > limits::kMaxPathBytes) {
    return BadPath(path,
                   absl::StrCat("at most ", limits::kMaxPathBytes, " bytes, found ", path.size()));
  }
  if (!IsValidUtf8(path)) return BadPath(path, "UTF-8, found other bytes");
  if (path[0] == '/') return BadPath(path, "a relative path, found an absolute one");
  for (const char c : path) {
    if (c == '\\') return BadPath(path, "'/' between parts, found a backslash");
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) {
      return BadPath(path, "printable characters, found a control character");
    }
  }
  for (const absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty()) return BadPath(path, "a name between slashes, found an empty part");
    if (part == "." || part == "..") {
      return BadPath(path, absl::StrCat("parts that are names, found '", part, "'"));
    }
  }
  return absl::OkStatus();
}

bool IsSafetensorsPath(absl::string_view path) { return absl::EndsWith(path, ".safetensors"); }

bool IsIndexPath(absl::string_view path) { return absl::EndsWith(path, ".safetensors.index.json"); }

void AppendStreams(uint32_t file_index, uint64_t file_bytes, const SafetensorsLayout* layout,
                   std::vector<StreamInfo>& streams) {
  if (layout == nullptr) {
    streams.push_back(WholeBytes(StreamKind::kSideFile, file_index, file_bytes));
    return;
  }
  streams.push_back(WholeBytes(StreamKind::kHeader, file_index, layout->header_bytes));
  for (const TensorInfo& tensor : layout->tensors) {
    streams.push_back({StreamKind::kTensor, file_index, tensor});
  }
}

Digest ModelDigest(const std::vector<CheckpointFile>& files) {
  Sha256Hasher hasher;
  for (const CheckpointFile& file : files) {
    hasher.Update(absl::StrCat(file.sha256.ToHex(), " ", file.size_bytes, " ", file.path, "\n"));
  }
  return hasher.Current();
}

absl::Status CheckIndexSize(absl::string_view index_path, uint64_t size_bytes) {
  if (size_bytes <= limits::kMaxIndexJsonBytes) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_INDEX",
                   absl::StrCat("index ", Excerpt(index_path), ": expected at most ",
                                limits::kMaxIndexJsonBytes, " bytes, found ", size_bytes));
}

absl::Status ValidateIndex(absl::string_view index_path, absl::string_view json,
                           const Checkpoint& checkpoint) {
  WDELTA_RETURN_IF_ERROR(CheckIndexSize(index_path, json.size()));
  const absl::Status status = CheckIndex(index_path, json, checkpoint);
  if (status.ok()) return status;
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_INDEX",
                   absl::StrCat("index ", Excerpt(index_path), ": ", status.message()));
}

}  // namespace wdelta

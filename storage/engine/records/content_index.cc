#include "storage/engine/records/content_index.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::IndexedContentRecord;
using store::v1::ModelRecord;
using store::v1::TensorPlaceRecord;

absl::StatusOr<std::optional<Versioned<IndexedContentRecord>>> ReadIndexed(
    Catalog& catalog, const std::string& model_id) {
  return ReadRecord<IndexedContentRecord>(catalog, keys::Indexed(model_id));
}

absl::StatusOr<std::string> HexOf(const std::string& digest_bytes) {
  const absl::StatusOr<Digest> digest = Digest::FromBytes(digest_bytes);
  if (!digest.ok()) return absl::DataLossError("index of contents: bad digest");
  return digest->ToHex();
}

std::vector<uint32_t> LargestStreams(const Checkpoint& checkpoint, size_t limit,
                                     absl::FunctionRef<bool(StreamKind)> is_wanted) {
  std::vector<uint32_t> largest;
  for (uint32_t i = 0; i < checkpoint.streams.size(); ++i) {
    const StreamInfo& stream = checkpoint.streams[i];
    if (!is_wanted(stream.kind)) continue;
    if (stream.tensor.size_bytes >= limits::kMinIndexedBytes) largest.push_back(i);
  }
  std::stable_sort(largest.begin(), largest.end(), [&](uint32_t a, uint32_t b) {
    return checkpoint.streams[a].tensor.size_bytes > checkpoint.streams[b].tensor.size_bytes;
  });
  if (largest.size() > limit) largest.resize(limit);
  return largest;
}

}  // namespace

Digest LayoutDigest(const Checkpoint& checkpoint) {
  std::vector<std::string> lines;
  for (const StreamInfo& stream : checkpoint.streams) {
    if (stream.kind != StreamKind::kTensor) continue;
    const TensorInfo& tensor = stream.tensor;
    std::string line =
        absl::StrCat(tensor.name, "\n", DTypeName(tensor.dtype), " ", tensor.shape.size(), "\n");
    for (size_t i = 1; i < tensor.shape.size(); ++i) absl::StrAppend(&line, tensor.shape[i], "\n");
    lines.push_back(std::move(line));
  }
  std::sort(lines.begin(), lines.end());
  return Digest::Of(absl::StrJoin(lines, "\n"));
}

std::vector<uint32_t> LargestTensors(const Checkpoint& checkpoint, size_t limit) {
  return LargestStreams(checkpoint, limit,
                        [](StreamKind kind) { return kind == StreamKind::kTensor; });
}

absl::Status PutInIndex(Catalog& catalog, const ModelRecord& model, const WdeltaFile& file,
                        Commit& commit) {
  WDELTA_ASSIGN_OR_RETURN(const auto old, ReadIndexed(catalog, model.id()));
  Checkpoint checkpoint;
  for (const WdeltaStream& stream : file.streams) checkpoint.streams.push_back(stream.info);
  const Digest layout = LayoutDigest(checkpoint);
  IndexedContentRecord indexed;
  indexed.set_layout_digest(layout.ToBytes());
  indexed.set_storage_depth(model.storage_depth());
  absl::flat_hash_set<Digest> added;
  const std::vector<uint32_t> streams =
      LargestStreams(checkpoint, limits::kMaxIndexedStreams,
                     [](StreamKind kind) { return kind != StreamKind::kHeader; });
  for (const uint32_t stream : streams) {
    const Digest& digest = file.streams[stream].sha256;
    if (!added.insert(digest).second) continue;  // tied
    indexed.add_tensor_digests(digest.ToBytes());
    TensorPlaceRecord place;
    place.set_stream(stream);
    commit.Write(keys::Tensor(digest.ToHex(), model.id()), place.SerializeAsString());
  }
  if (old.has_value() && old->message.storage_depth() != model.storage_depth()) {
    commit.Erase(keys::Layout(layout.ToHex(), old->message.storage_depth(), model.id()));
  }
  commit.Write(keys::Layout(layout.ToHex(), model.storage_depth(), model.id()), "");
  commit.Write(keys::Indexed(model.id()), indexed.SerializeAsString());
  return absl::OkStatus();
}

absl::Status RemoveFromIndex(Catalog& catalog, const std::string& model_id, Commit& commit) {
  WDELTA_ASSIGN_OR_RETURN(const auto record, ReadIndexed(catalog, model_id));
  if (!record.has_value()) return absl::OkStatus();
  const IndexedContentRecord& indexed = record->message;
  WDELTA_ASSIGN_OR_RETURN(const std::string layout, HexOf(indexed.layout_digest()));
  commit.Erase(keys::Layout(layout, indexed.storage_depth(), model_id));
  for (const std::string& digest : indexed.tensor_digests()) {
    WDELTA_ASSIGN_OR_RETURN(const std::string hex, HexOf(digest));
    commit.Erase(keys::Tensor(hex, model_id));
  }
  commit.Erase(keys::Indexed(model_id));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ModelsOfLayout(Catalog& catalog, const Digest& layout,
                                                        uint32_t limit) {
  const std::string prefix = keys::LayoutPrefix(layout.ToHex());
  WDELTA_ASSIGN_OR_RETURN(const ScanPage page,
                          catalog.Scan({prefix, PrefixEnd(prefix), limit, false}));
  std::vector<std::string> ids;
  for (const Record& record : page.records) {
    ids.push_back(record.key.substr(record.key.rfind('/') + 1));
  }
  return ids;
}

absl::StatusOr<std::vector<TensorPlace>> PlacesOfTensor(Catalog& catalog, const Digest& digest,
                                                        uint32_t limit) {
  const std::string prefix = keys::TensorPrefix(digest.ToHex());
  WDELTA_ASSIGN_OR_RETURN(const ScanPage page,
                          catalog.Scan({prefix, PrefixEnd(prefix), limit, false}));
  std::vector<TensorPlace> places;
  for (const Record& record : page.records) {
    WDELTA_ASSIGN_OR_RETURN(const auto place, ParseRecord<TensorPlaceRecord>(record));
    places.push_back({record.key.substr(prefix.size()), place.message.stream()});
  }
  return places;
}

}  // namespace wdelta

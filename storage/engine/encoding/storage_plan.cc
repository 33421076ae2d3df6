#include "storage/engine/encoding/storage_plan.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "storage/codec/converted_parent.h"

namespace wdelta {
namespace {

bool RowsAlign(const TensorInfo& target, const TensorInfo& parent) {
  if (target.shape.size() != parent.shape.size()) return false;
  if (target.shape.empty()) return true;
  return std::equal(target.shape.begin() + 1, target.shape.end(), parent.shape.begin() + 1);
}

std::string MatchKey(const Checkpoint& checkpoint, const StreamInfo& stream) {
  const std::string& name = stream.kind == StreamKind::kTensor
                                ? stream.tensor.name
                                : checkpoint.files[stream.file_index].path;
  return absl::StrCat(static_cast<int>(stream.kind), "/", name);
}

std::vector<uint32_t> HeadersOf(const Checkpoint& checkpoint) {
  std::vector<uint32_t> headers;
  for (uint32_t i = 0; i < checkpoint.streams.size(); ++i) {
    if (checkpoint.streams[i].kind == StreamKind::kHeader) headers.push_back(i);
  }
  return headers;
}

}  // namespace

std::vector<std::optional<uint32_t>> MatchStreams(const Checkpoint& target,
                                                  const Checkpoint& parent) {
  absl::flat_hash_map<std::string, uint32_t> parent_streams;
  for (uint32_t i = 0; i < parent.streams.size(); ++i) {
    parent_streams.emplace(MatchKey(parent, parent.streams[i]), i);
  }
  const std::vector<uint32_t> target_headers = HeadersOf(target);
  const std::vector<uint32_t> parent_headers = HeadersOf(parent);
  const bool single_headers = target_headers.size() == 1 && parent_headers.size() == 1;

  std::vector<std::optional<uint32_t>> matches(target.streams.size());
  for (uint32_t i = 0; i < target.streams.size(); ++i) {
    const StreamInfo& stream = target.streams[i];
    const auto found = parent_streams.find(MatchKey(target, stream));
    if (found != parent_streams.end()) {
      const TensorInfo& other = parent.streams[found->second].tensor;
      if (stream.kind != StreamKind::kTensor ||
          (DTypesMatch(stream.tensor, other) && RowsAlign(stream.tensor, other))) {
        matches[i] = found->second;
      }
    } else if (stream.kind == StreamKind::kHeader && single_headers) {
      matches[i] = parent_headers[0];
    }
  }
  return matches;
}

std::vector<std::optional<uint32_t>> MatchContents(const Checkpoint& target,
                                                   const std::vector<Digest>& target_digests,
                                                   const ContentSource& parent) {
  std::vector<std::optional<uint32_t>> matches = MatchStreams(target, parent.checkpoint());
  const std::vector<StreamInfo>& parent_streams = parent.checkpoint().streams;
  absl::flat_hash_map<Digest, uint32_t> by_content;
  for (uint32_t i = 0; i < parent_streams.size(); ++i) {
    if (parent_streams[i].tensor.size_bytes == 0) continue;
    if (const auto digest = parent.StreamDigest(i)) by_content.emplace(*digest, i);
  }
  // Of tensors with equal bytes, what the first that has a match is matched with.
  absl::flat_hash_map<Digest, uint32_t> by_tie;
  for (uint32_t i = 0; i < matches.size(); ++i) {
    if (matches[i].has_value()) by_tie.emplace(target_digests[i], *matches[i]);
  }
  for (uint32_t i = 0; i < matches.size(); ++i) {
    if (target.streams[i].tensor.size_bytes == 0) continue;
    const Digest& digest = target_digests[i];
    const bool is_same = matches[i].has_value() && parent.StreamDigest(*matches[i]) == digest;
    if (is_same) continue;
    if (const auto equal = by_content.find(digest); equal != by_content.end()) {
      matches[i] = equal->second;
    } else if (const auto tied = by_tie.find(digest);
               tied != by_tie.end() && !matches[i].has_value()) {
      matches[i] = tied->second;
    }
  }
  return matches;
}

bool DTypesMatch(const TensorInfo& target, const TensorInfo& parent) {
  return target.dtype == parent.dtype || CanConvert(parent.dtype, target.dtype);
}

std::optional<DType> ConvertedDType(const TensorInfo& target, const TensorInfo& parent) {
  if (!CanConvert(parent.dtype, target.dtype) || !RowsAlign(target, parent)) return std::nullopt;
  return parent.dtype;
}

}  // namespace wdelta

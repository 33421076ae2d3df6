#include "storage/engine/storage_plan.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

bool RowsAlign(const TensorInfo& target, const TensorInfo& parent) {
  if (target.dtype != parent.dtype || target.shape.size() != parent.shape.size()) return false;
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

// Whether decoding a model needs another one.
absl::StatusOr<bool> DependsOn(Models& models, std::string id, const std::string& other) {
  for (uint32_t i = 0; i <= limits::kMaxStorageDepth && !id.empty(); ++i) {
    if (id == other) return true;
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models.GetById(id));
    if (!model.has_value()) return false;
    id = model->record.storage_parent_id();
  }
  return !id.empty();  // deeper than any chain: not to be built upon
}

}  // namespace

absl::StatusOr<StorageParent> ChooseStorageParent(Models& models, JobQueue& jobs,
                                                  const ModelRecord& model) {
  for (const store::v1::ParentEdge& edge : model.parents()) {
    std::string id = edge.model_id();
    while (!id.empty()) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> parent, models.GetById(id));
      if (!parent.has_value()) break;
      const ModelRecord& record = parent->record;
      if (record.state() == ModelRecord::STAGED || record.state() == ModelRecord::IMPORTING) {
        const absl::StatusOr<Job> job = jobs.Get(record.job_id());
        if (job.ok() && !HasEnded(job->record)) {
          return MakeError(absl::StatusCode::kUnavailable, "PARENT_NOT_READY",
                           absl::StrCat("parent '", record.name(), "' is not compressed yet"));
        }
      }
      if (record.delta_pieces_size() == 0) break;  // never compressed, or freed
      if (record.storage_depth() < limits::kMaxStorageDepth) {
        return StorageParent{id, record.storage_depth() + 1, edge.model_id()};
      }
      id = record.storage_parent_id();
    }
  }
  return StorageParent{};
}

absl::StatusOr<std::vector<StorageParent>> RepackCandidates(Models& models,
                                                            const ModelRecord& model) {
  std::vector<StorageParent> candidates = {{model.storage_parent_id(), model.storage_depth(), ""}};
  const auto is_known = [&](const std::string& id) {
    return std::any_of(candidates.begin(), candidates.end(),
                       [&](const StorageParent& known) { return known.model_id == id; });
  };
  if (!is_known("")) candidates.push_back({"", 0, ""});
  for (const store::v1::ParentEdge& edge : model.parents()) {
    std::string id = edge.model_id();
    for (uint32_t i = 0; i <= limits::kMaxStorageDepth && !id.empty(); ++i) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> parent, models.GetById(id));
      if (!parent.has_value()) break;
      const ModelRecord& record = parent->record;
      const uint32_t depth = record.storage_depth() + 1;
      const bool fits = record.delta_pieces_size() > 0 && depth <= model.storage_depth();
      WDELTA_ASSIGN_OR_RETURN(const bool is_cycle, DependsOn(models, id, model.id()));
      if (fits && !is_cycle && !is_known(id)) candidates.push_back({id, depth, edge.model_id()});
      if (candidates.size() == limits::kMaxRepackCandidates) return candidates;
      id = record.storage_parent_id();
    }
  }
  return candidates;
}

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
      if (stream.kind != StreamKind::kTensor || RowsAlign(stream.tensor, other)) {
        matches[i] = found->second;
      }
    } else if (stream.kind == StreamKind::kHeader && single_headers) {
      matches[i] = parent_headers[0];
    }
  }
  return matches;
}

}  // namespace wdelta

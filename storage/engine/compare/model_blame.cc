#include "storage/engine/compare/model_blame.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/wdelta/wdelta_reader.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::ParentEdge;

// The tensors of a stored model by content. Keeps the model open.
class TensorsByContent {
 public:
  explicit TensorsByContent(ContentSourcePtr source) : source_(std::move(source)) {
    const std::vector<WdeltaStream>& streams = source_->stored()->file().streams;
    for (uint32_t i = 0; i < streams.size(); ++i) {
      const WdeltaStream& stream = streams[i];
      if (stream.info.kind != StreamKind::kTensor) continue;
      named_.emplace(std::pair(stream.sha256, absl::string_view(stream.info.tensor.name)), i);
      const auto [found, added] = only_.emplace(stream.sha256, i);
      if (!added) found->second = std::nullopt;
    }
  }

  bool Has(const Digest& sha256, const TensorInfo& tensor, absl::string_view name) const {
    const auto found = named_.find(std::pair(sha256, name));
    return found != named_.end() && IsAlike(found->second, tensor);
  }

  // Under whatever name, if it is there once; otherwise null.
  const std::string* NameOf(const Digest& sha256, const TensorInfo& tensor) const {
    const auto found = only_.find(sha256);
    if (found == only_.end() || !found->second.has_value()) return nullptr;
    return IsAlike(*found->second, tensor) ? &InfoOf(*found->second).name : nullptr;
  }

 private:
  const TensorInfo& InfoOf(uint32_t stream) const {
    return source_->checkpoint().streams[stream].tensor;
  }
  bool IsAlike(uint32_t stream, const TensorInfo& tensor) const {
    return InfoOf(stream).dtype == tensor.dtype && InfoOf(stream).shape == tensor.shape;
  }

  const ContentSourcePtr source_;
  absl::flat_hash_map<std::pair<Digest, absl::string_view>, uint32_t> named_;
  absl::flat_hash_map<Digest, std::optional<uint32_t>> only_;  // nullopt: several
};

class BlameWalk {
 public:
  BlameWalk(Models& models, Reader& reader, const std::function<absl::Status()>& alive)
      : models_(models), reader_(reader), alive_(alive) {}

  absl::StatusOr<ModelBlame> Run(const Model& model) {
    WDELTA_RETURN_IF_ERROR(Begin(model));
    // Parents are older than their children, and ids are in order of age: all that come
    // to a model have come when it is the newest.
    while (!waiting_.empty()) {
      const auto newest = waiting_.begin();
      const Waiting step = std::move(newest->second);
      waiting_.erase(newest);
      WDELTA_RETURN_IF_ERROR(Step(step));
    }
    SortOrigins();
    return std::move(blame_);
  }

 private:
  // Tensors that have come as far as a model.
  struct Waiting {
    ModelRecord model;  // id, name and parents
    std::vector<size_t> tensors;
  };

  absl::Status Begin(const Model& model) {
    if (model.record.state() != ModelRecord::READY) {
      return MakeError(
          absl::StatusCode::kFailedPrecondition, "MODEL_NOT_READY",
          absl::StrCat("model '", model.record.name(), "': expected state READY, found ",
                       ModelRecord::State_Name(model.record.state())));
    }
    WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr source, reader_.Open(model.record));
    const auto stored = source->stored();
    if (stored == nullptr) return absl::AbortedError("the model is not stored any more");
    std::vector<const WdeltaStream*> streams;
    for (const WdeltaStream& stream : stored->file().streams) {
      if (stream.info.kind == StreamKind::kTensor) streams.push_back(&stream);
    }
    std::stable_sort(streams.begin(), streams.end(),
                     [](const WdeltaStream* left, const WdeltaStream* right) {
                       return left->info.tensor.name < right->info.tensor.name;
                     });
    Waiting& start = WaitingAt(model.record);
    for (const WdeltaStream* stream : streams) {
      start.tensors.push_back(blame_.tensors.size());
      digests_.push_back(stream->sha256);
      blame_.tensors.push_back({stream->info.tensor, 0, "", std::nullopt});
    }
    return absl::OkStatus();
  }

  Waiting& WaitingAt(const ModelRecord& model) {
    Waiting& waiting = waiting_[model.id()];
    if (waiting.model.id().empty()) {
      waiting.model.set_id(model.id());
      waiting.model.set_name(model.name());
      *waiting.model.mutable_parents() = model.parents();
    }
    return waiting;
  }

  absl::Status Step(const Waiting& step) {
    std::vector<size_t> left = step.tensors;
    // The first parent that has a tensor under another name; it counts when none has it
    // under its own.
    struct Renamed {
      ModelRecord model;
      std::vector<std::pair<size_t, std::string>> tensors;
    };
    std::vector<Renamed> renamed;
    absl::flat_hash_map<size_t, bool> is_renamed;
    std::optional<size_t> lost;
    WDELTA_ASSIGN_OR_RETURN(const std::vector<ParentEdge> parents, LiveParents(step.model, lost));
    for (const ParentEdge& edge : parents) {
      if (left.empty()) break;
      WDELTA_RETURN_IF_ERROR(alive_());
      std::optional<ModelRecord> parent;
      WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr source, OpenParent(edge, parent, lost));
      if (source == nullptr) continue;
      const TensorsByContent contents(source);
      Renamed in_parent{*parent, {}};
      std::vector<size_t> still_left;
      for (const size_t i : left) {
        const TensorInfo& tensor = blame_.tensors[i].tensor;
        if (contents.Has(digests_[i], tensor, NameAt(i))) {
          WaitingAt(*parent).tensors.push_back(i);
          continue;
        }
        still_left.push_back(i);
        const std::string* name = contents.NameOf(digests_[i], tensor);
        if (name != nullptr && is_renamed.emplace(i, true).second) {
          in_parent.tensors.emplace_back(i, *name);
        }
      }
      left = std::move(still_left);
      if (!in_parent.tensors.empty()) renamed.push_back(std::move(in_parent));
    }
    for (const Renamed& in_parent : renamed) {
      for (const auto& [i, name] : in_parent.tensors) {
        if (!std::binary_search(left.begin(), left.end(), i)) continue;
        blame_.tensors[i].name_there = name == blame_.tensors[i].tensor.name ? "" : name;
        WaitingAt(in_parent.model).tensors.push_back(i);
      }
    }
    left.erase(
        std::remove_if(left.begin(), left.end(), [&](size_t i) { return is_renamed.contains(i); }),
        left.end());
    EndHere(step.model, left, lost);
    return absl::OkStatus();
  }

  // Sets `lost` unless it was.
  void Lose(const ParentEdge& edge, LostParent::Reason reason, std::optional<size_t>& lost) {
    if (lost.has_value()) return;
    lost = blame_.lost_parents.size();
    blame_.lost_parents.push_back({edge.model_id(), edge.name(), reason});
  }

  // The parents in order; in the place of a deleted one, which is lost, those of its own that
  // are not named before. A deleted model keeps its edges for as long as it has descendants.
  absl::StatusOr<std::vector<ParentEdge>> LiveParents(const ModelRecord& model,
                                                      std::optional<size_t>& lost) {
    std::vector<ParentEdge> live;
    absl::flat_hash_set<std::string> seen;
    std::vector<ParentEdge> next(model.parents().rbegin(), model.parents().rend());
    while (!next.empty()) {
      const ParentEdge edge = std::move(next.back());
      next.pop_back();
      if (!seen.insert(edge.model_id()).second) continue;
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> parent, models_.GetById(edge.model_id()));
      if (parent.has_value() && parent->record.state() != ModelRecord::DELETED) {
        live.push_back(edge);
        continue;
      }
      if (passed_ == limits::kMaxBlamedAncestors) {
        Lose(edge, LostParent::Reason::kTooManyAncestors, lost);
        continue;
      }
      ++passed_;
      WDELTA_RETURN_IF_ERROR(alive_());
      Lose(edge, LostParent::Reason::kDeleted, lost);
      if (!parent.has_value()) continue;
      const auto& grandparents = parent->record.parents();
      next.insert(next.end(), grandparents.rbegin(), grandparents.rend());
    }
    return live;
  }

  // Null, and `lost` set unless it was, when the parent cannot be asked.
  absl::StatusOr<ContentSourcePtr> OpenParent(const ParentEdge& edge,
                                              std::optional<ModelRecord>& parent,
                                              std::optional<size_t>& lost) {
    const auto lose = [&](LostParent::Reason reason) {
      Lose(edge, reason, lost);
      return ContentSourcePtr();
    };
    if (opened_ == limits::kMaxBlamedAncestors) return lose(LostParent::Reason::kTooManyAncestors);
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> found, models_.GetById(edge.model_id()));
    if (!found.has_value() || found->record.state() == ModelRecord::DELETED) {
      return lose(LostParent::Reason::kDeleted);
    }
    if (found->record.state() != ModelRecord::READY) return lose(LostParent::Reason::kNotReady);
    ++opened_;
    absl::StatusOr<ContentSourcePtr> source = reader_.Open(found->record);
    if (absl::IsNotFound(source.status())) return lose(LostParent::Reason::kDeleted);
    WDELTA_RETURN_IF_ERROR(source.status());
    if ((*source)->stored() == nullptr) return lose(LostParent::Reason::kNotReady);
    parent = found->record;
    return source;
  }

  absl::string_view NameAt(size_t i) const {
    const TensorBlame& blame = blame_.tensors[i];
    return blame.name_there.empty() ? blame.tensor.name : blame.name_there;
  }

  void EndHere(const ModelRecord& model, const std::vector<size_t>& tensors,
               std::optional<size_t> lost) {
    if (tensors.empty()) return;
    BlameOrigin origin{model.id(), model.name(), 0, 0};
    for (const size_t i : tensors) {
      blame_.tensors[i].origin = blame_.origins.size();
      blame_.tensors[i].lost_parent = lost;
      ++origin.tensor_count;
      origin.size_bytes += blame_.tensors[i].tensor.size_bytes;
    }
    blame_.origins.push_back(std::move(origin));
  }

  void SortOrigins() {
    std::vector<size_t> order(blame_.origins.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t left, size_t right) {
      const BlameOrigin& a = blame_.origins[left];
      const BlameOrigin& b = blame_.origins[right];
      return a.size_bytes != b.size_bytes ? a.size_bytes > b.size_bytes : a.model_id < b.model_id;
    });
    std::vector<BlameOrigin> sorted;
    std::vector<size_t> place(order.size());
    for (size_t i = 0; i < order.size(); ++i) {
      place[order[i]] = i;
      sorted.push_back(std::move(blame_.origins[order[i]]));
    }
    blame_.origins = std::move(sorted);
    for (TensorBlame& tensor : blame_.tensors) tensor.origin = place[tensor.origin];
  }

  Models& models_;
  Reader& reader_;
  const std::function<absl::Status()>& alive_;
  ModelBlame blame_;
  std::vector<Digest> digests_;                             // by tensor
  std::map<std::string, Waiting, std::greater<>> waiting_;  // by model id, newest first
  uint64_t opened_ = 0;
  uint64_t passed_ = 0;  // deleted ones
};

}  // namespace

absl::StatusOr<ModelBlame> BlameTensors(Models& models, Reader& reader, const Model& model,
                                        const std::function<absl::Status()>& alive) {
  return BlameWalk(models, reader, alive).Run(model);
}

}  // namespace wdelta

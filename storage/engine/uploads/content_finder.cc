#include "storage/engine/uploads/content_finder.h"

#include <utility>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/records/content_index.h"

namespace wdelta {

using store::v1::ModelRecord;

absl::StatusOr<ContentSourcePtr> ContentFinder::OpenReady(const std::string& model_id) {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models_->GetById(model_id));
  if (!model.has_value() || model->record.state() != ModelRecord::READY) return nullptr;
  if (!MayName(check_name_, model->record.name())) return nullptr;
  absl::StatusOr<ContentSourcePtr> source = reader_->Open(model->record);
  // Deleted in between, or damaged: the client sends the bytes instead.
  if (absl::IsNotFound(source.status()) || absl::IsDataLoss(source.status())) return nullptr;
  return source;
}

absl::Status ContentFinder::OpenNear() {
  for (const std::string& id : std::exchange(near_ids_, {})) {
    WDELTA_ASSIGN_OR_RETURN(ContentSourcePtr source, OpenReady(id));
    if (source == nullptr) continue;
    const std::vector<StreamInfo>& streams = source->checkpoint().streams;
    for (uint32_t i = 0; i < streams.size(); ++i) {
      if (streams[i].tensor.size_bytes < limits::kMinReusedBytes) continue;
      if (const std::optional<Digest> digest = source->StreamDigest(i)) {
        near_places_.try_emplace(*digest, NearPlace{static_cast<uint32_t>(near_.size()), i});
      }
    }
    near_.push_back(std::move(source));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ContentFinder::Has(const Digest& digest) {
  WDELTA_RETURN_IF_ERROR(OpenNear());
  if (near_places_.contains(digest)) return true;
  WDELTA_ASSIGN_OR_RETURN(
      const std::vector<TensorPlace> places,
      PlacesOfTensor(*catalog_, digest,
                     check_name_ == nullptr ? 1 : limits::kMaxCandidatesOfAKind));
  if (check_name_ == nullptr) return !places.empty();
  for (const TensorPlace& place : places) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models_->GetById(place.model_id));
    if (model.has_value() && MayName(check_name_, model->record.name())) return true;
  }
  return false;
}

absl::StatusOr<std::optional<ContentFinder::Place>> ContentFinder::Find(const Digest& digest) {
  WDELTA_RETURN_IF_ERROR(OpenNear());
  if (const auto near = near_places_.find(digest); near != near_places_.end()) {
    return std::optional(Place{near_[near->second.source], near->second.stream});
  }
  WDELTA_ASSIGN_OR_RETURN(const std::vector<TensorPlace> places,
                          PlacesOfTensor(*catalog_, digest, limits::kMaxCandidatesOfAKind));
  for (const TensorPlace& place : places) {
    if (place.model_id != far_id_) {
      far_id_.clear();
      WDELTA_ASSIGN_OR_RETURN(far_, OpenReady(place.model_id));
      if (far_ == nullptr) continue;
      far_id_ = place.model_id;
    }
    const bool is_there = place.stream < far_->checkpoint().streams.size() &&
                          far_->StreamDigest(place.stream) == digest;
    if (is_there) return std::optional(Place{far_, place.stream});
  }
  return std::optional<Place>();
}

}  // namespace wdelta

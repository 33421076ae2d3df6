#include "storage/engine/encoding/shared_streams.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/records/content_index.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

struct Sharer {
  std::string parent_id;
  std::shared_ptr<const WdeltaReader> stored;  // null: cannot be read
  std::set<uint64_t> piece_begins;
};

// Whether the payload of a stream lies in blobs of its own, as a new model's would, and is
// what lossless encoding gives.
bool IsSharable(const Sharer& sharer, uint32_t stream) {
  const WdeltaFile& file = sharer.stored->file();
  if (stream >= file.streams.size()) return false;
  if (file.fidelity.has_value()) {
    for (const WdeltaStreamFidelity& noted : file.fidelity->streams) {
      if (noted.stream == stream && noted.strategy != Strategy::kLossless) return false;
    }
  }
  const WdeltaStream& found = file.streams[stream];
  if (PayloadBytesOf(file, found) < limits::kMinSharedPayloadBytes) return false;
  const uint64_t begin = found.correction.has_value()
                             ? found.correction->payload_offset
                             : file.chunks[found.first_chunk].payload_offset;
  return sharer.piece_begins.contains(begin);
}

absl::StatusOr<Sharer> OpenSharer(Models& models, Reader& reader, const std::string& id) {
  Sharer sharer;
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models.GetById(id));
  if (!model.has_value() || model->record.state() != ModelRecord::READY) return sharer;
  const absl::StatusOr<HeldDelta> held = reader.HoldDelta(id);
  if (!held.ok()) return sharer;
  const auto opened = WdeltaReader::Open(held->file);
  if (!opened.ok()) return sharer;
  sharer.parent_id = held->model.storage_parent_id();
  sharer.stored = *opened;
  uint64_t begin = 0;
  for (const store::v1::DeltaPiece& piece : held->model.delta_pieces()) {
    sharer.piece_begins.insert(begin);
    begin += piece.size_bytes();
  }
  return sharer;
}

}  // namespace

absl::Status SharedStreams::Load(Catalog& catalog, Models& models, Reader& reader,
                                 const Checkpoint& checkpoint,
                                 const std::vector<Digest>& stream_digests) {
  std::map<std::string, Sharer> sharers;
  for (const uint32_t stream : LargestTensors(checkpoint, limits::kMaxTensorsLookedUp)) {
    WDELTA_ASSIGN_OR_RETURN(
        const std::vector<TensorPlace> places,
        PlacesOfTensor(catalog, stream_digests[stream], limits::kMaxCandidatesOfAKind));
    for (const TensorPlace& place : places) {
      auto found = sharers.find(place.model_id);
      if (found == sharers.end()) {
        if (sharers.size() == limits::kMaxSharersOpened) continue;
        WDELTA_ASSIGN_OR_RETURN(Sharer sharer, OpenSharer(models, reader, place.model_id));
        found = sharers.emplace(place.model_id, std::move(sharer)).first;
      }
      const Sharer& sharer = found->second;
      if (sharer.stored == nullptr || !IsSharable(sharer, place.stream)) continue;
      forms_[stream].push_back(
          {sharer.parent_id, sharer.stored->file().streams[place.stream].parent_stream});
    }
  }
  return absl::OkStatus();
}

bool SharedStreams::AreStored(uint32_t stream, const std::string& parent_id,
                              std::optional<uint32_t> parent_stream) const {
  const auto found = forms_.find(stream);
  if (found == forms_.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(), [&](const Form& form) {
    return form.parent_id == parent_id && form.parent_stream == parent_stream;
  });
}

}  // namespace wdelta

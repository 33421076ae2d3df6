#include "storage/engine/models/model_tally.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

ModelKind KindOf(const ModelRecord& model) {
  if (model.has_merge() || model.parents_size() > 1) return ModelKind::kMerge;
  return model.parents_size() == 0 ? ModelKind::kRoot : ModelKind::kFineTune;
}

uint64_t StoredBytesOf(const ModelRecord& model) {
  if (model.delta_pieces_size() > 0) return model.stored_bytes();
  return model.staging_id().empty() ? 0 : model.raw_bytes();
}

}  // namespace

void ModelTally::Put(const std::string& id, const ModelRecord& model) {
  Erase(id);
  const Entry entry{{KindOf(model), model.state()}, model.raw_bytes(), StoredBytesOf(model)};
  entries_[id] = entry;
  ModelTotals& totals = totals_[entry.key];
  ++totals.model_count;
  totals.logical_bytes += entry.logical_bytes;
  totals.stored_bytes += entry.stored_bytes;
}

void ModelTally::Erase(const std::string& id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  ModelTotals& totals = totals_[found->second.key];
  --totals.model_count;
  totals.logical_bytes -= found->second.logical_bytes;
  totals.stored_bytes -= found->second.stored_bytes;
  entries_.erase(found);
}

}  // namespace wdelta

#include "storage/engine/gc/deleted_models.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "storage/base/id.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/model_files.h"
#include "storage/engine/records/records.h"
#include "store/v1/records.pb.h"

namespace wdelta {

using store::v1::BlobRecord;
using store::v1::ModelRecord;

absl::Status ForEachModel(Catalog& catalog,
                          const std::function<absl::Status(const Model& model)>& visit) {
  ScanRequest request{std::string(keys::kModels), PrefixEnd(keys::kModels), limits::kModelsPerScan,
                      false};
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(const ScanPage page, catalog.Scan(request));
    for (const Record& record : page.records) {
      WDELTA_ASSIGN_OR_RETURN(auto parsed, ParseRecord<ModelRecord>(record));
      WDELTA_RETURN_IF_ERROR(visit({std::move(parsed.message), parsed.version}));
    }
    if (!page.more || page.records.empty()) return absl::OkStatus();
    request.begin = page.records.back().key + '\0';
  }
}

absl::Status DeletedModels::Load(Catalog& catalog, const absl::flat_hash_set<std::string>& doomed,
                                 const std::function<absl::Status()>& alive) {
  doomed_ = doomed;
  WDELTA_RETURN_IF_ERROR(ForEachModel(catalog, [&](const Model& model) -> absl::Status {
    const ModelRecord& record = model.record;
    const bool is_gone = record.state() == ModelRecord::DELETED || doomed.contains(record.id());
    if (record.retired_owners_size() > 0) with_former_forms_.push_back(record.id());
    if (is_gone && HoldsBytes(record)) {
      // What a merge is still to read stays, a child of what it is encoded against.
      WDELTA_ASSIGN_OR_RETURN(const bool is_merged,
                              AnyWithPrefix(catalog, keys::NeededByPrefix(record.id())));
      if (is_merged) return alive();
      nodes_[record.id()] = {record.name(), record.storage_parent_id(), {}};
      order_.push_back(record.id());
    } else if (is_gone) {
      tombstones_.push_back(record.id());
    }
    return alive();
  }));
  for (const std::string& id : order_) {
    WDELTA_ASSIGN_OR_RETURN(nodes_[id].children,
                            ScanKeySuffixes(catalog, keys::EncodedOnPrefix(id)));
    WDELTA_RETURN_IF_ERROR(alive());
  }
  return absl::OkStatus();
}

bool DeletedModels::IsNeededBy(const std::string& child,
                               const absl::flat_hash_set<std::string>& leaving) const {
  const auto found = nodes_.find(child);
  return found == nodes_.end() || (!found->second.is_freed && !leaving.contains(child));
}

std::vector<std::string> DeletedModels::Unneeded() const {
  absl::flat_hash_set<std::string> leaving;
  std::vector<std::string> unneeded;
  for (const std::string& id : order_) {
    // Upwards for as long as nothing else needs them.
    std::string next = id;
    while (true) {
      const auto found = nodes_.find(next);
      if (found == nodes_.end() || found->second.is_freed || leaving.contains(next)) break;
      const std::vector<std::string>& children = found->second.children;
      if (std::any_of(children.begin(), children.end(),
                      [&](const std::string& child) { return IsNeededBy(child, leaving); })) {
        break;
      }
      leaving.insert(next);
      unneeded.push_back(next);
      next = found->second.storage_parent_id;
    }
  }
  return unneeded;
}

std::vector<std::string> DeletedModels::Needed() const {
  std::vector<std::string> needed;
  absl::flat_hash_set<std::string> seen;
  // Breadth first from those whose parent is not among them; then the other way round.
  for (const std::string& id : order_) {
    const Node& node = nodes_.at(id);
    const auto parent = nodes_.find(node.storage_parent_id);
    const bool is_top = parent == nodes_.end() || parent->second.is_freed;
    if (!node.is_freed && is_top && seen.insert(id).second) needed.push_back(id);
  }
  for (size_t i = 0; i < needed.size(); ++i) {
    for (const std::string& child : nodes_.at(needed[i]).children) {
      const auto found = nodes_.find(child);
      if (found == nodes_.end() || found->second.is_freed) continue;
      if (seen.insert(child).second) needed.push_back(child);
    }
  }
  std::reverse(needed.begin(), needed.end());
  return needed;
}

std::vector<std::string> DeletedModels::UnitOf(const std::string& id,
                                               std::vector<std::string>& dependents) const {
  dependents.clear();
  std::vector<std::string> unit = {id};
  absl::flat_hash_set<std::string> leaving = {id};
  for (size_t i = 0; i < unit.size(); ++i) {
    for (const std::string& child : nodes_.at(unit[i]).children) {
      const auto found = nodes_.find(child);
      if (found == nodes_.end()) {
        dependents.push_back(child);
      } else if (!found->second.is_freed && leaving.insert(child).second) {
        unit.push_back(child);
      }
    }
  }
  std::reverse(unit.begin(), unit.end());
  std::sort(dependents.begin(), dependents.end());  // by age
  std::string next = nodes_.at(id).storage_parent_id;
  while (true) {
    const auto found = nodes_.find(next);
    if (found == nodes_.end() || found->second.is_freed) break;
    const std::vector<std::string>& children = found->second.children;
    if (std::any_of(children.begin(), children.end(),
                    [&](const std::string& child) { return IsNeededBy(child, leaving); })) {
      break;
    }
    leaving.insert(next);
    unit.push_back(next);
    next = found->second.storage_parent_id;
  }
  return unit;
}

void DeletedModels::Free(const std::vector<std::string>& ids) {
  for (const std::string& id : ids) {
    Node& node = nodes_.at(id);
    node.is_freed = true;
    node.children.clear();
  }
}

absl::StatusOr<uint64_t> ExclusiveBytes(Catalog& catalog, Models& models,
                                        const std::vector<std::string>& ids) {
  const absl::flat_hash_set<std::string> leaving(ids.begin(), ids.end());
  uint64_t bytes = 0;
  absl::flat_hash_set<std::string> shared;  // by several of `ids`
  for (const std::string& id : ids) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models.GetById(id));
    if (!model.has_value()) continue;
    absl::flat_hash_set<std::string> own;
    for (const store::v1::DeltaPiece& piece : model->record.delta_pieces()) {
      const std::string hex = absl::BytesToHexString(piece.blob_digest());
      if (!own.insert(hex).second) continue;
      WDELTA_ASSIGN_OR_RETURN(const auto blob, ReadRecord<BlobRecord>(catalog, keys::Blob(hex)));
      if (!blob.has_value()) continue;
      const auto& users = blob->message.model_ids();
      const bool is_exclusive = std::all_of(users.begin(), users.end(), [&](const auto& user) {
        return leaving.contains(user.substr(0, kIdChars));
      });
      if (!is_exclusive || (users.size() > 1 && !shared.insert(hex).second)) continue;
      bytes += piece.size_bytes();
    }
  }
  return bytes;
}

}  // namespace wdelta

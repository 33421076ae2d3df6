// The deleted models that hold bytes, by which of them is encoded against which.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/models/models.h"

namespace wdelta {

// Calls `visit` with every model, deleted ones too, in order of creation. Few records are
// in memory at a time.
absl::Status ForEachModel(Catalog& catalog,
                          const std::function<absl::Status(const Model& model)>& visit);

// A picture of one moment. One thread at a time.
class DeletedModels {
 public:
  struct Node {
    std::string name;
    std::string storage_parent_id;
    std::vector<std::string> children;  // encoded against it
    bool is_freed = false;              // or will be: see Free
  };

  // Models of `doomed` count as deleted. `alive` is called often; an error ends it.
  absl::Status Load(Catalog& catalog, const absl::flat_hash_set<std::string>& doomed,
                    const std::function<absl::Status()>& alive);

  // Deleted models that hold no bytes any more.
  const std::vector<std::string>& tombstones() const { return tombstones_; }
  // Models, deleted or not, with former stored forms that were not freed.
  const std::vector<std::string>& with_former_forms() const { return with_former_forms_; }

  const absl::flat_hash_set<std::string>& doomed() const { return doomed_; }
  const Node& Get(const std::string& id) const { return nodes_.at(id); }

  // Those that no live model needs, children first.
  std::vector<std::string> Unneeded() const;
  // The others, children first.
  std::vector<std::string> Needed() const;

  // What can go with `id` once nothing live is encoded against it: itself and the deleted
  // ones that are encoded against it, children first, then the ancestors that only these
  // need. `dependents`: the live models that are encoded against any of them.
  std::vector<std::string> UnitOf(const std::string& id,
                                  std::vector<std::string>& dependents) const;

  // From here on these are no one's children, and live dependents count no more.
  void Free(const std::vector<std::string>& ids);

 private:
  bool IsNeededBy(const std::string& child, const absl::flat_hash_set<std::string>& leaving) const;

  absl::flat_hash_map<std::string, Node> nodes_;
  std::vector<std::string> order_;  // of creation
  absl::flat_hash_set<std::string> doomed_;
  std::vector<std::string> tombstones_;
  std::vector<std::string> with_former_forms_;
};

// Sizes of the blobs that nothing but models of `ids` claims.
absl::StatusOr<uint64_t> ExclusiveBytes(Catalog& catalog, Models& models,
                                        const std::vector<std::string>& ids);

}  // namespace wdelta

// The versions of a name: every live model that was uploaded under it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/models/models.h"

namespace wdelta {

// Any thread may call it. Owns nothing; both must outlive it.
class ModelVersions {
 public:
  ModelVersions(Catalog* catalog, Models* models) : catalog_(*catalog), models_(*models) {}

  // The newest version of `name` whose digest begins with these hex digits; nullopt: none.
  // FAILED_PRECONDITION (`AMBIGUOUS_DIGEST`): they fit versions of several contents.
  absl::StatusOr<std::optional<Model>> Find(absl::string_view name, absl::string_view hex_prefix);

  // Versions of `name` up to the one with this id, the newest first, at most `limit`.
  absl::StatusOr<std::vector<Model>> UpTo(absl::string_view name, absl::string_view id,
                                          size_t limit);

 private:
  Catalog& catalog_;
  Models& models_;
};

}  // namespace wdelta

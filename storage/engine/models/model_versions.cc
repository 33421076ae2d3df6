#include "storage/engine/models/model_versions.h"

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/records.h"

namespace wdelta {

absl::StatusOr<std::optional<Model>> ModelVersions::Find(absl::string_view name,
                                                         absl::string_view hex_prefix) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> suffixes,
                          ScanKeySuffixes(catalog_, keys::DigestPrefix(hex_prefix)));
  // Suffixes are `<rest of the digest>/<id>`, and ids grow with time.
  std::string rest_of_newest;
  std::string newest_id;
  for (const std::string& suffix : suffixes) {
    const size_t slash = suffix.find('/');
    const std::string rest = suffix.substr(0, slash);
    const std::string id = suffix.substr(slash + 1);
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Record> version,
                            catalog_.Get(keys::Version(name, id)));
    if (!version.has_value()) continue;
    if (!newest_id.empty() && rest != rest_of_newest) {
      return MakeError(
          absl::StatusCode::kFailedPrecondition, "AMBIGUOUS_DIGEST",
          absl::StrCat("digest prefix ", hex_prefix, " fits several versions of '", name, "'"));
    }
    rest_of_newest = rest;
    if (id > newest_id) newest_id = id;
  }
  if (newest_id.empty()) return std::optional<Model>();
  WDELTA_ASSIGN_OR_RETURN(std::optional<Model> model, models_.GetById(newest_id));
  if (model.has_value() && model->record.state() == store::v1::ModelRecord::DELETED) model.reset();
  return model;
}

absl::StatusOr<std::vector<Model>> ModelVersions::UpTo(absl::string_view name, absl::string_view id,
                                                       size_t limit) {
  ScanRequest request{keys::VersionPrefix(name), keys::Version(name, id) + '\0',
                      static_cast<uint32_t>(limit), true};
  WDELTA_ASSIGN_OR_RETURN(const ScanPage page, catalog_.Scan(request));
  std::vector<Model> versions;
  for (const Record& record : page.records) {
    const std::string version_id = record.key.substr(keys::VersionPrefix(name).size());
    WDELTA_ASSIGN_OR_RETURN(std::optional<Model> model, models_.GetById(version_id));
    if (model.has_value()) versions.push_back(*std::move(model));
  }
  return versions;
}

}  // namespace wdelta

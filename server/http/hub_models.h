// Models as repositories of the Hub.
//
// A name is a repository; `main` is its newest version, a tag is a tag, and a version's
// commit is the first 40 hex digits of the model's digest: the same content has the same
// commit wherever it is stored. Any thread may call it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/engine/model_store.h"
#include "storage/engine/model_versions.h"

namespace wdelta {

inline constexpr char kMainBranch[] = "main";

// Of a model that is served; see HubModels.
std::string CommitOf(const store::v1::ModelRecord& model);

class HubModels {
 public:
  // Does not own them; both must outlive it.
  HubModels(ModelStore* store, Catalog* catalog)
      : models_(store->models()), versions_(catalog, &store->models()) {}

  // `main`, `HEAD`, a tag, or at least kMinDigestPrefixDigits hex digits of a digest; a
  // tag and a branch also as `refs/tags/…`, `refs/heads/…`.
  // NOT_FOUND (`REPO_NOT_FOUND`, `REVISION_NOT_FOUND`), UNAVAILABLE (`MODEL_NOT_READY`)
  // while its served bytes are not settled.
  absl::StatusOr<Model> Find(const std::string& repo, const std::string& revision);

  struct NamedCommit {
    std::string name;
    std::string commit;
  };
  // The first kMaxListedTags, of models that are served. NOT_FOUND (`REPO_NOT_FOUND`).
  absl::StatusOr<std::vector<NamedCommit>> Tags(const std::string& repo);
  // The version at a revision and those before it, the newest first, at most
  // kMaxListedCommits; without those that are not served. Errors of Find.
  absl::StatusOr<std::vector<Model>> History(const std::string& repo, const std::string& revision);

 private:
  absl::StatusOr<Model> Newest(const std::string& repo);
  absl::StatusOr<Model> AtRevision(const std::string& repo, const std::string& revision);

  Models& models_;
  ModelVersions versions_;
};

}  // namespace wdelta

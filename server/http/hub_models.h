// Models as repositories of the Hub.
//
// A name is a repository; `main` is its newest version that is served, a tag is a tag,
// and a version's commit is the first 40 hex digits of the model's digest: the same
// content has the same commit wherever it is stored. Any thread may call it.
#pragma once

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/clock.h"
#include "storage/engine/model_store.h"
#include "storage/engine/models/model_versions.h"
#include "storage/engine/records/name_check.h"

namespace wdelta {

inline constexpr char kMainBranch[] = "main";

inline constexpr size_t kCommitDigits = 40;
// Of a model that is served; see HubModels.
std::string CommitOf(const store::v1::ModelRecord& model);

class HubModels {
 public:
  // Owns none of them; all must outlive it.
  HubModels(ModelStore* store, Catalog* catalog, const Clock* clock)
      : models_(store->models()),
        jobs_(store->jobs()),
        versions_(catalog, &store->models()),
        clock_(*clock) {}

  // Makes an empty repository, which is a model without id, files and any bit set in its
  // digest until its first version comes. Not kept over a restart.
  // ALREADY_EXISTS (`REPO_EXISTS`), INVALID_ARGUMENT (`BAD_NAME`), RESOURCE_EXHAUSTED
  // (`TOO_MANY_EMPTY_REPOS`).
  absl::Status Create(const std::string& repo) ABSL_LOCKS_EXCLUDED(mutex_);
  // Of a repository that has its first version: without versions it is none.
  void NoteVersion(const std::string& repo) ABSL_LOCKS_EXCLUDED(mutex_);

  // `main`, `HEAD`, a tag, or at least kMinDigestPrefixDigits hex digits of a digest; a
  // tag and a branch also as `refs/tags/…`, `refs/heads/…`.
  // NOT_FOUND (`REPO_NOT_FOUND`, `REVISION_NOT_FOUND`: also of what failed or was
  // cancelled, or a tag of a model of a name that `check_name` refuses), UNAVAILABLE
  // (`MODEL_NOT_READY`) while its served bytes are not settled.
  absl::StatusOr<Model> Find(const std::string& repo, const std::string& revision,
                             const NameCheck& check_name);

  struct NamedCommit {
    std::string name;
    std::string commit;
  };
  // The first kMaxListedTags, of models that are served and may be named. NOT_FOUND
  // (`REPO_NOT_FOUND`).
  absl::StatusOr<std::vector<NamedCommit>> Tags(const std::string& repo,
                                                const NameCheck& check_name);
  // The version at a revision and those before it, the newest first, at most
  // kMaxListedCommits; without those that are not served. Errors of Find.
  absl::StatusOr<std::vector<Model>> History(const std::string& repo, const std::string& revision,
                                             const NameCheck& check_name);

 private:
  // Served or not.
  absl::StatusOr<Model> Newest(const std::string& repo);
  // The newest that is served; the newest of all where none is.
  absl::StatusOr<Model> Main(const std::string& repo, Model newest);
  absl::StatusOr<Model> AtRevision(const std::string& repo, const std::string& revision);
  absl::Status WhyNotServed(const Model& model, const std::string& revision);
  absl::StatusOr<Model> EmptyRepo(const std::string& repo) ABSL_LOCKS_EXCLUDED(mutex_);

  Models& models_;
  JobQueue& jobs_;
  ModelVersions versions_;
  const Clock& clock_;
  absl::Mutex mutex_;
  // Repositories without a version, and when they were made.
  absl::flat_hash_map<std::string, absl::Time> empty_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

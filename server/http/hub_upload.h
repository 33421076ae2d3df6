// A commit to a repository as a new version of its model.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/http/hub_commit.h"
#include "server/http/hub_objects.h"
#include "storage/engine/model_store.h"

namespace wdelta {

// A version holds all files: what a commit does not touch is copied from the version
// before. Any thread may call it.
class HubUpload {
 public:
  // Owns none of them; both must outlive it.
  HubUpload(ModelStore* store, HubObjects* objects) : store_(*store), objects_(*objects) {}

  // The model after the commit, durable: the one before where the commit changes nothing.
  // The parents are the models of the store that the card in the commit's result names as
  // `base_model`; without one, the version before.
  // FAILED_PRECONDITION (`PARENT_COMMIT_MOVED`), INVALID_ARGUMENT (`OBJECT_NOT_SENT`),
  // UNAVAILABLE (`MODEL_NOT_READY`: the version before), and what Uploads returns.
  absl::StatusOr<Model> Commit(const std::string& repo, const HubCommit& commit)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Whether a commit may name this content without sending it.
  absl::StatusOr<bool> Has(const std::string& repo, const Digest& digest, uint64_t size_bytes);

 private:
  struct Source {
    HubObjectPtr object;  // null: a file of the version before
    int file = 0;         // of its record
    Digest digest;
    uint64_t size_bytes = 0;
  };
  using Sources = std::map<std::string, Source>;  // by path

  // One commit to a repository at a time.
  class Turn;

  absl::StatusOr<std::optional<Model>> Newest(const std::string& repo);
  absl::StatusOr<Sources> Apply(const std::string& repo, const HubCommit& commit,
                                const std::optional<Model>& before);
  absl::StatusOr<std::vector<ParentReference>> ParentsOf(const std::string& repo,
                                                         const Sources& sources,
                                                         const std::optional<Model>& before);
  absl::StatusOr<Model> Upload(const std::string& repo, const HubCommit& commit,
                               const Sources& sources, const std::optional<Model>& before);
  absl::Status Copy(const Sources& sources, const std::optional<Model>& before,
                    UploadWriter& writer);

  ModelStore& store_;
  HubObjects& objects_;
  absl::Mutex mutex_;
  absl::flat_hash_set<std::string> busy_ ABSL_GUARDED_BY(mutex_);  // repositories
};

}  // namespace wdelta

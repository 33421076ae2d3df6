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
#include "server/http/hub_models.h"
#include "server/http/hub_objects.h"
#include "storage/engine/model_store.h"

namespace wdelta {

// Of a model, the names of those that it was made from, with commas: what is taken for its
// parents where its card names none. Goes over to later versions.
inline constexpr char kBaseModelKey[] = "base_model";

// A version holds all files: what a commit does not touch is that of the version before, as are
// its labels. Where no tensors are new, it shares what is stored of them; otherwise all files are
// copied and compressed. Any thread may call it.
class HubUpload {
 public:
  // Owns none of them; all must outlive it.
  HubUpload(ModelStore* store, HubModels* models, HubObjects* objects)
      : store_(*store), models_(*models), objects_(*objects) {}

  // The model after the commit, durable: the one before where the commit changes nothing.
  // The parents are the models of the store that the card in the commit's result names as
  // `base_model`; without any, those that the version before names in its metadata under
  // kBaseModelKey; without any, the version before.
  // Waits for other commits to the same repository; UNAVAILABLE (`TOO_MANY_COMMITS`) when
  // kMaxWaitingCommits wait.
  // UNAVAILABLE (`STOPPING`) after Stop, soon, in commits that run too.
  // FAILED_PRECONDITION (`PARENT_COMMIT_MOVED`), INVALID_ARGUMENT (`OBJECT_NOT_SENT`,
  // `WRONG_SIZE`, `BAD_PATH`), NOT_FOUND (`FILE_NOT_FOUND`: what it deletes), UNAVAILABLE
  // (`MODEL_NOT_READY`: the version before), and what Uploads returns.
  absl::StatusOr<Model> Commit(const std::string& repo, const HubCommit& commit)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends all commits but those that are being made durable. May be repeated.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // Of each content, whether a commit may name it without sending it.
  absl::StatusOr<std::vector<bool>> Has(const std::string& repo,
                                        const std::vector<ContentName>& contents);

  // The version that a commit changes; nullopt: there is none.
  absl::StatusOr<std::optional<Model>> Newest(const std::string& repo);

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

  absl::StatusOr<Sources> Apply(const std::string& repo, const HubCommit& commit,
                                const std::optional<Model>& before);
  static absl::Status Remove(const std::string& path, Sources& sources);
  // No path is that of a file and of a folder.
  static absl::Status CheckFolders(const Sources& sources);
  static absl::Status CheckParent(const std::string& repo, const HubCommit& commit,
                                  const std::optional<Model>& before);
  // Others than commits make versions too, and copying takes its time.
  absl::Status CheckStillNext(const std::string& repo, const HubCommit& commit)
      ABSL_LOCKS_EXCLUDED(mutex_);
  static bool IsSame(const Sources& sources, const std::optional<Model>& before);
  // Empty: there is no card, or one that is too large.
  absl::StatusOr<std::string> ReadCard(const Sources& sources, const std::optional<Model>& before);
  absl::StatusOr<std::vector<ParentReference>> ParentsOf(const std::string& repo,
                                                         const Sources& sources,
                                                         const std::optional<Model>& before);
  static StringMap MetadataOf(const HubCommit& commit, const std::optional<Model>& before);
  absl::StatusOr<Model> MakeVersion(const std::string& repo, const HubCommit& commit,
                                    const Sources& sources, const std::optional<Model>& before);
  // Whether all that is new are side files of at most kMaxRevisedBytes, and what is before is
  // compressed.
  static bool KeepsTensors(const Sources& sources, const std::optional<Model>& before);
  // Makes the version of what is stored (storage/engine/uploads/revisions.h).
  absl::StatusOr<Model> Revise(const std::string& repo, const HubCommit& commit,
                               const Sources& sources, const std::optional<Model>& before);
  // Copies all files into an upload.
  absl::StatusOr<Model> Upload(const std::string& repo, const HubCommit& commit,
                               const Sources& sources, const std::optional<Model>& before);
  absl::Status Copy(const Sources& sources, const std::optional<Model>& before,
                    UploadWriter& writer);
  absl::Status CheckNotStopping() ABSL_LOCKS_EXCLUDED(mutex_);

  ModelStore& store_;
  HubModels& models_;
  HubObjects& objects_;
  absl::Mutex mutex_;
  bool is_stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_set<std::string> busy_ ABSL_GUARDED_BY(mutex_);  // repositories
  int waiting_ ABSL_GUARDED_BY(mutex_) = 0;                        // commits, to any of them
};

}  // namespace wdelta

// New versions of a stored model that have its tensors: other cards, configurations, names of
// files. They are made of what is stored, so that nothing is uploaded or compressed again.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/clock.h"
#include "storage/base/id.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/disk/disk_guard.h"
#include "storage/engine/models/models.h"
#include "storage/engine/records/blob_claims.h"
#include "storage/engine/records/names.h"
#include "storage/engine/uploads/revised_delta.h"
#include "storage/engine/uploads/upload_params.h"
#include "store/v1/records.pb.h"

namespace wdelta {

struct RevisionParams {
  // Of the model whose files are kept; READY. The new one takes its name.
  std::string model_id;
  // In order of path. A kept file stays a safetensors file or a side file, and a new one is a side
  // file.
  std::vector<RevisedFile> files;
  std::vector<ParentReference> parents;
  StringMap labels;
  StringMap metadata;
  // Called now and then, and before each attempt to make the new model durable, which fails if the
  // name has got another version since; its error ends the work.
  std::function<absl::Status()> check;
};

// Any thread may call it.
class Revisions {
 public:
  struct Dependencies {
    Catalog* catalog = nullptr;
    Models* models = nullptr;
    Reader* reader = nullptr;
    BlobClaims* claims = nullptr;
    IdGenerator* ids = nullptr;
    const Clock* clock = nullptr;
    DiskGuard* disk = nullptr;
  };
  // Owns none of them; all must outlive it.
  explicit Revisions(const Dependencies& dependencies) : deps_(dependencies) {}

  // The new model, READY, durable and verified: its stored form is read once and shares its large
  // pieces with that of the other, of which it is independent. It keeps the fidelity of what it
  // keeps. Blocks as long as that reading takes.
  // Errors: those of Uploads for names, paths, labels, metadata, parents and indexes; NOT_FOUND and
  // FAILED_PRECONDITION (`MODEL_NOT_READY`) of the model; RESOURCE_EXHAUSTED (`DISK_FULL`);
  // DATA_LOSS; UNAVAILABLE (`PARENT_GONE`, `PARENT_MOVED`, `BLOB_RECLAIMED`): something that it is
  // stored with changed meanwhile. After an error there is no new model, unless the commit itself
  // could not tell.
  absl::StatusOr<Model> Make(const RevisionParams& params);

 private:
  absl::StatusOr<store::v1::ModelRecord> Build(const RevisionParams& params,
                                               const store::v1::ModelRecord& before);
  // Stores the files of a built model under its id.
  absl::StatusOr<WdeltaFile> Store(const RevisionParams& params, const HeldDelta& before,
                                   store::v1::ModelRecord& model);
  absl::Status Verify(const RevisionParams& params, const store::v1::ModelRecord& model);
  absl::StatusOr<Model> Commit(const RevisionParams& params, const store::v1::ModelRecord& before,
                               const WdeltaFile& file, store::v1::ModelRecord model);
  // Gives up what was claimed for a model that did not come to be.
  void Abandon(const std::string& model_id);

  const Dependencies deps_;
};

}  // namespace wdelta

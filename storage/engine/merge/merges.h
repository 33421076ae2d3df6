// Requests to make a model of others. Any thread may call it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/clock.h"
#include "storage/base/digest.h"
#include "storage/base/id.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/disk/disk_guard.h"
#include "storage/engine/models/models.h"
#include "storage/engine/queue/job_queue.h"
#include "store/v1/records.pb.h"

namespace wdelta {

struct MergeParams {
  std::string request_id;
  // SHA-256 of what the client asked for, to tell a repeated request from another.
  Digest fingerprint;
  std::string name;
  // Method, weights, scale and density; models as below.
  store::v1::MergeRecipe recipe;
  // References: of the base (empty: none), and of the sources of the recipe, in order.
  std::string base;
  std::vector<std::string> sources;
  StringMap labels;
  StringMap metadata;
  bool new_version = false;
};

struct StartedMerge {
  Model model;
  std::string job_id;
};

class Merges {
 public:
  struct Dependencies {
    Catalog* catalog = nullptr;
    JobQueue* jobs = nullptr;
    Models* models = nullptr;
    Reader* reader = nullptr;
    IdGenerator* ids = nullptr;
    const Clock* clock = nullptr;
    DiskGuard* disk = nullptr;
  };
  // Owns none of them; all must outlive it.
  explicit Merges(const Dependencies& dependencies) : deps_(dependencies) {}

  // Checks everything that can be known without reading weights, then makes the model,
  // IMPORTING, and its job in one commit, which also keeps the bytes of its inputs from being
  // freed. Errors are listed in proto/wdelta/v1/merge.proto.
  absl::StatusOr<StartedMerge> Start(const MergeParams& params);

 private:
  absl::Status ResolveModels(const MergeParams& params, std::vector<Model>& inputs,
                             store::v1::MergeRecipe& recipe);
  absl::StatusOr<store::v1::ModelRecord> BuildModel(const MergeParams& params);
  absl::StatusOr<StartedMerge> CommitModel(const MergeParams& params, store::v1::ModelRecord model);
  // What an earlier request of the same id started.
  absl::StatusOr<std::optional<StartedMerge>> FindEarlier(const MergeParams& params);

  const Dependencies deps_;
};

}  // namespace wdelta

// What a simulated store has promised to its clients, and what may have happened besides
// because an answer was an error or never came.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "storage/base/digest.h"
#include "storage/engine/merge/merges.h"
#include "storage/engine/uploads/uploads.h"
#include "tests/simulation/random.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {

struct Content {
  std::vector<TestTensor> tensors;
  TestFiles files;
  bool is_malformed = false;  // no upload of it becomes a model
};
using ContentPtr = std::shared_ptr<const Content>;

struct LiveModel {
  std::string id;
  std::string name;
  ContentPtr content;  // null: computed by the store
  std::vector<std::string> parents;
  bool is_lossy = false;
  bool maybe_deleted = false;
  bool may_expire = false;       // by a rule, at any time
  std::set<std::string> labels;  // values that its label may have
  std::optional<Digest> served;  // of what was served first, unless `content` tells

  std::string Reference() const { return "id:" + id; }
};

struct OpenUpload {
  std::string id;  // empty: not known
  StartUploadParams params;
  ContentPtr content;
  std::map<std::string, uint64_t> durable_bytes;  // that were acknowledged, by path
  absl::Time active_time;                         // no activity was earlier
  bool maybe_cancelled = false;
  bool maybe_finished = false;
};

// Used in the thread whose turn it is.
struct Oracle {
  std::map<std::string, LiveModel> models;    // by id
  std::map<std::string, OpenUpload> uploads;  // by request id
  std::map<std::string, MergeParams> merges;  // whose model is not known, by request id
  // What a tag may point at; an empty id is none.
  std::map<std::string, std::set<std::string>> tags;
  std::set<std::string> deleted;  // ids of models
  ContentPtr last_deleted;        // null: none
  // What was uploaded first, for those who upload it again.
  std::vector<ContentPtr> first_contents;
  std::set<std::string> jobs;  // that were acknowledged
  bool has_cancelled_jobs = false;

  void AddModel(LiveModel model);
  // What an upload or a merge became.
  void AddModelOf(const OpenUpload& upload, const std::string& id);
  void AddModelOf(const MergeParams& merge, const std::string& id);
  // Its tags go with it.
  void MarkDeleted(const std::string& id);
  // A tag whose model may be gone may be gone, too.
  void MarkMaybeDeleted(const std::string& id);
};

// The one label that clients set.
inline constexpr char kLabel[] = "stage";
// Names of models that the retention rule is about begin so.
inline constexpr char kExpiringPrefix[] = "run-";

// A small checkpoint of its own, or one made from `origin` unless that is null.
ContentPtr RandomContent(Random& random, const Content* origin);

}  // namespace wdelta::testing

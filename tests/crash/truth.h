// What a crash test has been promised by the daemon, and what may have happened besides
// because no answer came. Any thread may call it.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "tests/support/checkpoint_builder.h"
#include "wdelta/v1/uploads.pb.h"

namespace wdelta::testing {

struct Content {
  std::vector<TestTensor> tensors;
  TestFiles files;
};
using ContentPtr = std::shared_ptr<const Content>;

struct LiveModel {
  std::string id;
  std::string name;
  ContentPtr content;
  bool is_lossy = false;
  // Of a lossy model, what was served first: path to SHA-256.
  std::map<std::string, std::string> served_sha256;
  // A delete went out without an answer.
  bool maybe_deleted = false;
};

struct OpenUpload {
  std::string id;  // empty: not known
  v1::StartUploadRequest request;
  ContentPtr content;
  // Bytes that the daemon called durable, by path.
  std::map<std::string, uint64_t> durable_bytes;
  bool maybe_cancelled = false;
};

class Truth {
 public:
  // Models, by id.
  void AddModel(LiveModel model) ABSL_LOCKS_EXCLUDED(mutex_);
  void MarkMaybeDeleted(const std::string& id) ABSL_LOCKS_EXCLUDED(mutex_);
  // `exists`: what became of a delete. Tags of a model go with it.
  void SettleModel(const std::string& id, bool exists) ABSL_LOCKS_EXCLUDED(mutex_);
  // What a lossy model serves, told by the first fetch; false if it differs from before.
  bool TakeServed(const std::string& id, const std::map<std::string, std::string>& sha256)
      ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<LiveModel> Models() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Those whose names begin with `prefix` and that no delete without an answer may have taken.
  std::vector<LiveModel> ModelsOf(const std::string& prefix) const ABSL_LOCKS_EXCLUDED(mutex_);
  bool IsLive(const std::string& id) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Uploads, by request id.
  void PutUpload(OpenUpload upload) ABSL_LOCKS_EXCLUDED(mutex_);
  void DropUpload(const std::string& request_id) ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<OpenUpload> Uploads() const ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<OpenUpload> UploadsOf(const std::string& prefix) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Tags: what `tag` may point at; an empty id is none.
  void AllowTag(const std::string& tag, const std::string& model_id) ABSL_LOCKS_EXCLUDED(mutex_);
  void SettleTag(const std::string& tag, const std::string& model_id) ABSL_LOCKS_EXCLUDED(mutex_);
  std::map<std::string, std::set<std::string>> Tags() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Calls that were answered by success.
  void CountAcknowledged() { ++acknowledged_count_; }
  uint64_t acknowledged_count() const { return acknowledged_count_; }

 private:
  std::atomic<uint64_t> acknowledged_count_ = 0;
  mutable absl::Mutex mutex_;
  std::map<std::string, LiveModel> models_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, OpenUpload> uploads_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::set<std::string>> tags_ ABSL_GUARDED_BY(mutex_);
};

// A checkpoint of its own, or one made from `origin` unless that is null.
ContentPtr RandomContent(std::mt19937& random, const Content* origin);

}  // namespace wdelta::testing

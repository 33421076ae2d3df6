// An engine over in-memory storage that can be restarted and can crash, for tests.
#pragma once

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/blobs/memory_blob_store.h"
#include "storage/catalog/memory_catalog.h"
#include "storage/engine/model_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {

// Path to bytes.
using Files = std::map<std::string, std::string>;

// After `steps_left` changes every further one fails, as if the process had died.
struct CrashPoint {
  int steps_left = 1'000'000;
  // Other work that comes in between, once.
  std::function<void()> before_next_commit;
  // Likewise after each reading of a record, which is given to its reader as it was then.
  std::function<void(absl::string_view key)> after_get;
  // What is said of each commit once it was applied.
  std::function<absl::Status()> after_commit;
  // Which commits fail; the first of them is seen all the same from the next one on that does
  // not, as when a database is opened anew after a write that failed.
  std::function<bool(const Commit& commit)> breaks;
  // Likewise before each reading of a blob.
  std::function<void()> before_blob_get;
  absl::Status Step() {
    if (steps_left-- > 0) return absl::OkStatus();
    return absl::UnavailableError("crashed");
  }
  bool crashed() const { return steps_left < 0; }
};

class CrashingBlobStore final : public BlobStore {
 public:
  explicit CrashingBlobStore(CrashPoint* crash) : crash_(crash) {}
  absl::StatusOr<PutResult> Put(const Digest& digest, absl::string_view data) override {
    if (absl::Status step = crash_->Step(); !step.ok()) return step;
    const bool replaces = Mend(digest);
    const absl::StatusOr<PutResult> result = inner_.Put(digest, data);
    return replaces && result.ok() ? PutResult::kReplaced : result;
  }
  absl::StatusOr<std::string> Get(const Digest& digest, uint64_t offset, uint64_t size) override {
    // It may set another hook, or none.
    if (const auto hook = crash_->before_blob_get) hook();
    absl::StatusOr<std::string> bytes = inner_.Get(digest, offset, size);
    const std::optional<uint64_t> at = DamagedAt(digest);
    if (!bytes.ok() || !at.has_value()) return bytes;
    if (*at >= offset && *at < offset + size) (*bytes)[*at - offset] ^= 1;
    return bytes;
  }
  // One bit of the byte at `offset` is the other way round until the blob is put again.
  void Damage(const Digest& digest, uint64_t offset) {
    const absl::MutexLock lock(&mutex_);
    damaged_[digest] = offset;
  }
  absl::StatusOr<BlobInfo> Stat(const Digest& digest) override { return inner_.Stat(digest); }
  absl::StatusOr<BlobPage> List(const std::string& after_hex, uint32_t limit) override {
    return inner_.List(after_hex, limit);
  }
  absl::Status Delete(const Digest& digest) override {
    if (absl::Status step = crash_->Step(); !step.ok()) return step;
    return inner_.Delete(digest);
  }

 private:
  // Whether it was damaged.
  bool Mend(const Digest& digest) {
    const absl::MutexLock lock(&mutex_);
    return damaged_.erase(digest) > 0;
  }
  std::optional<uint64_t> DamagedAt(const Digest& digest) {
    const absl::MutexLock lock(&mutex_);
    const auto damaged = damaged_.find(digest);
    if (damaged == damaged_.end()) return std::nullopt;
    return damaged->second;
  }

  MemoryBlobStore inner_;
  absl::Mutex mutex_;
  // Blobs are read by many threads while another puts one.
  std::map<Digest, uint64_t> damaged_ ABSL_GUARDED_BY(mutex_);
  CrashPoint* const crash_;
};

class CrashingCatalog final : public Catalog {
 public:
  explicit CrashingCatalog(CrashPoint* crash) : crash_(crash) {}
  absl::StatusOr<std::optional<Record>> Get(absl::string_view key) override {
    ++reads;
    absl::StatusOr<std::optional<Record>> found = inner_.Get(key);
    // It may set another hook, or none.
    if (const auto hook = crash_->after_get) hook(key);
    return found;
  }
  absl::StatusOr<ScanPage> Scan(const ScanRequest& request) override {
    ++reads;
    return inner_.Scan(request);
  }
  absl::StatusOr<uint64_t> Apply(const Commit& commit) override {
    if (const auto meanwhile = std::exchange(crash_->before_next_commit, nullptr)) meanwhile();
    if (absl::Status step = crash_->Step(); !step.ok()) return step;
    if (crash_->breaks != nullptr && crash_->breaks(commit)) {
      if (!late_.has_value()) late_ = commit;
      return absl::UnavailableError("broken");
    }
    if (late_.has_value()) {
      WDELTA_RETURN_IF_ERROR(inner_.Apply(*std::exchange(late_, std::nullopt)).status());
    }
    absl::StatusOr<uint64_t> applied = inner_.Apply(commit);
    if (!applied.ok() || crash_->after_commit == nullptr) return applied;
    WDELTA_RETURN_IF_ERROR(crash_->after_commit());
    return applied;
  }
  absl::StatusOr<uint64_t> CurrentRevision() override { return inner_.CurrentRevision(); }
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(std::string prefix, uint64_t after) override {
    return inner_.Watch(std::move(prefix), after);
  }

  std::atomic<int> reads = 0;  // calls of Get and Scan

 private:
  MemoryCatalog inner_;
  std::optional<Commit> late_;
  CrashPoint* const crash_;
};

class EngineTest : public ::testing::Test {
 protected:
  EngineTest();
  ~EngineTest() override;

  // A new engine over the same storage, as after a restart of the daemon.
  void Restart();

  absl::StatusOr<FinishedUpload> Upload(StartUploadParams params, const Files& files);
  absl::StatusOr<FinishedUpload> Upload(const std::string& name, const Files& files,
                                        const std::vector<std::string>& parents = {});

  // Runs jobs until none is due; none may fail.
  void RunJobs();
  // Likewise, or until a crash; they may fail. Returns the last error.
  absl::Status TryJobs();

  absl::StatusOr<ContentSourcePtr> Open(const std::string& reference);
  Files ReadAll(const ContentSourcePtr& source);
  Files ReadBack(const std::string& reference);
  store::v1::ModelRecord RecordOf(const std::string& reference);
  std::vector<std::string> BlobHexes();
  // Blobs that a model's record names.
  static std::vector<std::string> PiecesOf(const store::v1::ModelRecord& record);

  // Flips a bit of the byte at `offset` of a model's `.wdelta`.
  void DamageDelta(const store::v1::ModelRecord& record, uint64_t offset);

  // As of the next Restart.
  StoragePolicy storage_policy_;
  absl::Duration upload_ttl_ = absl::InfiniteDuration();
  CrashPoint crash_;
  CrashingBlobStore blobs_{&crash_};
  CrashingCatalog catalog_{&crash_};
  const std::unique_ptr<FileSystem> files_ = NewPosixFileSystem();
  ManualClock clock_;
  const TempFolder folder_;
  std::unique_ptr<ModelStore> store_;
};

}  // namespace wdelta::testing

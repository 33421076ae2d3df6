// Uploads, fetches, deletions, repacks and collections at the same time, with real workers:
// nothing blocks, every fetch gets the bytes that were uploaded, and nothing is left.
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "server/jobs/worker_pool.h"
#include "spdlog/sinks/null_sink.h"
#include "storage/base/clock.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/blobs/memory_blob_store.h"
#include "storage/catalog/memory_catalog.h"
#include "storage/engine/model_store.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_seed.h"

namespace wdelta {
namespace {

using testing::TestFiles;

class MaintenanceStressTest : public ::testing::Test {
 protected:
  MaintenanceStressTest() {
    ModelStoreOptions options;
    options.staging_dir = folder_.path();
    store_ = std::make_unique<ModelStore>(
        ModelStore::Dependencies{&blobs_, &catalog_, files_.get(), &clock_}, options);
    workers_ = std::make_unique<WorkerPool>(
        &store_->jobs(),
        [this](Job job, std::function<bool()> stopping) {
          return store_->runner().Run(std::move(job), std::move(stopping));
        },
        3, &log_);
  }

  absl::Status Upload(const std::string& name, const TestFiles& files, const std::string& parent) {
    StartUploadParams params;
    params.name = name;
    if (!parent.empty()) params.parents.push_back({parent, {}, {}});
    WDELTA_ASSIGN_OR_RETURN(const UploadView upload, store_->uploads().Start(params));
    const std::string& id = upload.record.id();
    std::vector<EntryParams> entries;
    for (const auto& [path, bytes] : files) entries.push_back({path, bytes.size(), ""});
    WDELTA_RETURN_IF_ERROR(store_->uploads().AddEntries(id, entries).status());
    WDELTA_ASSIGN_OR_RETURN(auto writer, store_->uploads().OpenWriter(id));
    for (const auto& [path, bytes] : files) {
      WDELTA_RETURN_IF_ERROR(writer->Write(path, 0, bytes));
    }
    WDELTA_RETURN_IF_ERROR(writer->Sync().status());
    writer.reset();
    const absl::Status finished = store_->uploads().Finish(id, {}).status();
    if (!finished.ok()) WDELTA_RETURN_IF_ERROR(store_->uploads().Cancel(id));
    return finished;
  }

  // NOT_FOUND when the model was deleted before the fetch began.
  absl::StatusOr<TestFiles> Fetch(const std::string& name) {
    WDELTA_ASSIGN_OR_RETURN(const Model model, store_->models().Resolve(name));
    WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr source, store_->reader().Open(model.record));
    TestFiles files;
    const Checkpoint& checkpoint = source->checkpoint();
    for (uint32_t i = 0; i < checkpoint.files.size(); ++i) {
      const auto cursor = store_->reader().NewCursor(
          source, RangesOfFile(checkpoint, i, 0, checkpoint.files[i].size_bytes));
      std::string& bytes = files[checkpoint.files[i].path];
      while (true) {
        absl::StatusOr<std::optional<CursorPiece>> piece = cursor->Next();
        // From here on it must go to its end.
        EXPECT_TRUE(piece.ok()) << piece.status();
        WDELTA_RETURN_IF_ERROR(piece.status());
        if (!piece->has_value()) break;
        bytes += (*piece)->data;
      }
    }
    return files;
  }

  void AwaitJob(const std::string& id) {
    const auto watcher = store_->jobs().Watch(id);
    ASSERT_TRUE(watcher.ok());
    while (!HasEnded(store_->jobs().Get(id)->record)) {
      (void)(*watcher)->Next(clock_.Now() + absl::Seconds(1));
    }
  }

  void AwaitAllJobs() {
    while (true) {
      bool more = false;
      const std::vector<Job> jobs = *store_->jobs().List("", 1000, &more);
      const auto running = std::find_if(jobs.begin(), jobs.end(),
                                        [](const Job& job) { return !HasEnded(job.record); });
      if (running == jobs.end()) return;
      AwaitJob(running->record.id());
    }
  }

  void UploadAndDelete(uint32_t seed, int count) {
    std::mt19937 random(seed);
    std::vector<testing::TestTensor> base = {testing::RandomWeights("a", {60, 640}, 1)};
    for (int i = 0; i < count; ++i) {
      std::vector<testing::TestTensor> tensors = base;
      if (i > 0) tensors[0] = testing::FineTuned(base[0], random() % 20);
      const TestFiles files = {{"model.safetensors", testing::BuildSafetensors(tensors)}};
      const std::string name = absl::StrCat("m", seed, "-", i);
      std::string parent;
      std::string victim;
      {
        absl::MutexLock lock(&mutex_);
        if (!live_.empty()) {
          auto it = live_.begin();
          std::advance(it, random() % live_.size());
          parent = it->first;
          if (live_.size() > 6) victim = parent;
        }
      }
      const absl::Status uploaded = Upload(name, files, parent);
      if (absl::IsNotFound(uploaded)) continue;  // the parent was deleted meanwhile
      ASSERT_TRUE(uploaded.ok()) << uploaded;
      {
        absl::MutexLock lock(&mutex_);
        live_[name] = files;
      }
      if (i % 3 == 0) {
        EXPECT_TRUE(store_->maintenance().StartGc().ok());
      } else if (i % 3 == 1) {
        (void)store_->models().Repack(name, store::v1::FAST);
      }
      if (victim.empty()) continue;
      {
        absl::MutexLock lock(&mutex_);
        if (live_.erase(victim) == 0) continue;
      }
      const absl::Status deleted = store_->models().Delete(victim);
      EXPECT_TRUE(deleted.ok()) << deleted;
    }
  }

  void FetchUntilDone(uint32_t seed) {
    std::mt19937 random(seed);
    while (!is_done_) {
      std::string name;
      TestFiles expected;
      {
        absl::MutexLock lock(&mutex_);
        if (live_.empty()) continue;
        auto it = live_.begin();
        std::advance(it, random() % live_.size());
        name = it->first;
        expected = it->second;
      }
      const absl::StatusOr<TestFiles> fetched = Fetch(name);
      if (absl::IsNotFound(fetched.status())) continue;
      ASSERT_TRUE(fetched.ok()) << fetched.status();
      EXPECT_TRUE(*fetched == expected) << name;
      ++fetches_;
    }
  }

  const TempFolder folder_;
  const SystemClock clock_;
  MemoryBlobStore blobs_;
  MemoryCatalog catalog_;
  const std::unique_ptr<FileSystem> files_ = NewPosixFileSystem();
  spdlog::logger log_{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
  std::unique_ptr<ModelStore> store_;
  std::unique_ptr<WorkerPool> workers_;
  std::atomic<bool> is_done_ = false;
  std::atomic<int> fetches_ = 0;
  absl::Mutex mutex_;
  std::map<std::string, TestFiles> live_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(MaintenanceStressTest, EverythingAtOnce) {
  const uint32_t seed = testing::TestSeed();
  SCOPED_TRACE(testing::SeedTrace(seed));
  std::vector<std::thread> fetchers;
  for (uint32_t i = 0; i < 2; ++i) {
    fetchers.emplace_back([this, seed, i] { FetchUntilDone(seed + 10 + i); });
  }
  std::vector<std::thread> writers;
  for (uint32_t i = 0; i < 2; ++i) {
    writers.emplace_back([this, seed, i] { UploadAndDelete(seed + i, 25); });
  }
  for (std::thread& writer : writers) writer.join();
  is_done_ = true;
  for (std::thread& fetcher : fetchers) fetcher.join();
  EXPECT_GT(fetches_, 0);
  AwaitAllJobs();
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, files] : live_) {
    const absl::StatusOr<TestFiles> fetched = Fetch(name);
    ASSERT_TRUE(fetched.ok()) << fetched.status();
    EXPECT_TRUE(*fetched == files) << name;
    EXPECT_TRUE(store_->models().Delete(name).ok());
  }
  AwaitAllJobs();
  const absl::StatusOr<std::string> gc = store_->maintenance().StartGc();
  ASSERT_TRUE(gc.ok());
  AwaitAllJobs();
  const store::v1::JobRecord job = store_->jobs().Get(*gc)->record;
  EXPECT_EQ(job.state(), store::v1::JobRecord::SUCCEEDED) << job.error();
  EXPECT_TRUE(blobs_.List("", 10)->blobs.empty()) << job.gc_report().DebugString();
  for (const char* prefix : {"blob", "model/", "encoded_on/", "child/", "staged/"}) {
    const ScanPage page = *catalog_.Scan({prefix, PrefixEnd(prefix), 3, false});
    EXPECT_TRUE(page.records.empty()) << page.records[0].key;
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

}  // namespace
}  // namespace wdelta

// Backups while models come and go: each one is whole, whatever was under way.
#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/backup/restore.h"
#include "tests/backup/test_store.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

constexpr int kBackups = 8;

// What a model of this name holds: `m<number>`.
TestFiles FilesOf(const std::string& name) {
  uint32_t number = 0;
  EXPECT_TRUE(absl::SimpleAtoi(name.substr(1), &number)) << name;
  return SmallCheckpoint(1 + number % 3, number);
}

// Uploads, compresses, deletes and collects in a thread of its own, until told to stop.
class Churn {
 public:
  explicit Churn(TestStore* store) : store_(*store), thread_([this] { Run(); }) {}
  void Stop() {
    is_stopping_ = true;
    thread_.join();
  }

 private:
  void Run() {
    std::vector<std::string> names;
    for (int i = 1; !is_stopping_; ++i) {
      names.push_back(absl::StrCat("m", i));
      store_.Upload(names.back(), FilesOf(names.back()));
      if (names.size() > 4) {
        // Of the older ones, so that others may be encoded against it.
        store_.Delete(names.front());
        names.erase(names.begin());
      }
      if (i % 4 == 0) store_.StartGc();
      if (i % 2 == 0) store_.RunJobs();
    }
  }

  TestStore& store_;
  std::atomic<bool> is_stopping_ = false;
  std::thread thread_;
};

void ExpectAllExact(TestStore& store) {
  for (const auto& [id, name] : store.Models()) {
    EXPECT_TRUE(store.ReadBack(absl::StrCat("id:", id)) == FilesOf(name)) << name;
  }
}

TEST(BackupRace, EveryBackupIsWhole) {
  const TempFolder folder;
  uint64_t models = 0;
  {
    TestStore store(folder / "data");
    for (const char* name : {"m1000", "m1001", "m1002"}) store.UploadReady(name, FilesOf(name));
    Churn churn(&store);
    for (int i = 0; i < kBackups; ++i) {
      const absl::StatusOr<BackupReport> report = store.Backup({folder / "backups", 0, i % 2 == 0});
      ASSERT_TRUE(report.ok()) << report.status();
      EXPECT_EQ(report->problem_count, 0u) << report->first_problem;
      models += report->model_count;
    }
    churn.Stop();
  }
  EXPECT_GE(models, 3u * kBackups);
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  for (uint32_t id = 1; id <= kBackups; ++id) {
    SCOPED_TRACE(absl::StrCat("backup ", id));
    const std::string path = folder / absl::StrCat("restored", id);
    const auto restored = RestoreBackup(*files, folder / "backups", id, path, GoOn);
    ASSERT_TRUE(restored.ok()) << restored.status();
    TestStore store(path);
    EXPECT_EQ(store.Models().size(), restored->model_count());
    ExpectAllExact(store);
    // What was under way goes on.
    store.RunJobs();
    store.StartGc();
    store.RunJobs();
    ExpectAllExact(store);
  }
}

}  // namespace
}  // namespace wdelta::testing

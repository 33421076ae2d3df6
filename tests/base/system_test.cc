// Errors, ids, threads and files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/barrier.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/id.h"
#include "storage/base/status_macros.h"
#include "storage/base/thread_pool.h"

namespace wdelta {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

TEST(ErrorTest, CarriesReasonAndDetailsThroughAnnotate) {
  const absl::Status error = MakeError(absl::StatusCode::kAlreadyExists, "NAME_TAKEN",
                                       "name a: expected free", {{"name", "a"}, {"model", "m"}});
  const absl::Status annotated = Annotate(error, "upload u");
  for (const absl::Status& status : {error, annotated}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
    EXPECT_EQ(ErrorReason(status), "NAME_TAKEN");
    EXPECT_THAT(GetErrorDetails(status), ElementsAre(Pair("model", "m"), Pair("name", "a")));
  }
  EXPECT_EQ(annotated.message(), "upload u: name a: expected free");
}

TEST(ErrorTest, PlainStatusesHaveNeither) {
  EXPECT_EQ(ErrorReason(absl::InternalError("x")), "");
  EXPECT_THAT(GetErrorDetails(absl::InternalError("x")), IsEmpty());
  EXPECT_TRUE(Annotate(absl::OkStatus(), "context").ok());
}

absl::StatusOr<int> AddOne(absl::StatusOr<int> input, bool fails_later) {
  WDELTA_ASSIGN_OR_RETURN(const int value, input);
  WDELTA_RETURN_IF_ERROR(fails_later ? absl::AbortedError("later") : absl::OkStatus());
  return value + 1;
}

TEST(StatusMacrosTest, ReturnTheFirstError) {
  EXPECT_EQ(AddOne(1, false).value(), 2);
  EXPECT_EQ(AddOne(1, true).status(), absl::AbortedError("later"));
  EXPECT_EQ(AddOne(absl::NotFoundError("first"), true).status(), absl::NotFoundError("first"));
}

class SteppingClock final : public Clock {
 public:
  absl::Time Now() const override { return now_; }
  void Set(absl::Time now) { now_ = now; }

 private:
  absl::Time now_ = absl::FromUnixMillis(1'469'918'176'385);
};

TEST(IdTest, TimeComesFirst) {
  // The time part of the ULID specification's example.
  SteppingClock clock;
  IdGenerator generator(&clock);
  const std::string id = generator.Next();
  EXPECT_EQ(id.substr(0, 10), "01aryz6s41");
  EXPECT_TRUE(IsWellFormedId(id));
}

TEST(IdTest, IncreasesWithinAMillisecondAndWhenTheClockGoesBack) {
  SteppingClock clock;
  IdGenerator generator(&clock);
  std::string last = generator.Next();
  const auto expect_larger = [&] {
    const std::string id = generator.Next();
    EXPECT_LT(last, id);
    EXPECT_TRUE(IsWellFormedId(id));
    last = id;
  };
  for (int i = 0; i < 1000; ++i) expect_larger();
  clock.Set(clock.Now() - absl::Hours(1));
  for (int i = 0; i < 10; ++i) expect_larger();
  clock.Set(clock.Now() + absl::Hours(2));
  const std::string before = last.substr(0, 10);
  expect_larger();
  EXPECT_LT(before, last.substr(0, 10));
}

TEST(IdTest, UniqueAcrossThreads) {
  SteppingClock clock;
  IdGenerator generator(&clock);
  absl::Mutex mutex;
  std::set<std::string> ids;
  {
    ThreadPool pool(4);
    for (int task = 0; task < 8; ++task) {
      pool.Schedule([&] {
        for (int i = 0; i < 100; ++i) {
          const std::string id = generator.Next();
          absl::MutexLock lock(&mutex);
          ids.insert(id);
        }
      });
    }
  }
  EXPECT_EQ(ids.size(), 800u);
}

TEST(IdTest, ComesAgainFromTheSameRandomSource) {
  SteppingClock clock;
  uint64_t first_calls = 0;
  uint64_t second_calls = 0;
  IdGenerator first(&clock, [&] { return first_calls++; });
  IdGenerator second(&clock, [&] { return second_calls++; });
  const std::string id = first.Next();
  EXPECT_EQ(id.substr(10), "0123456789abcdef");
  EXPECT_EQ(second.Next(), id);
  EXPECT_LT(id, first.Next());
}

TEST(IdTest, WellFormed) {
  EXPECT_FALSE(IsWellFormedId(""));
  EXPECT_FALSE(IsWellFormedId(std::string(25, '0')));
  EXPECT_FALSE(IsWellFormedId(std::string(27, '0')));
  EXPECT_TRUE(IsWellFormedId(std::string(26, 'z')));
  for (const char c : {'i', 'l', 'o', 'u', 'A', '/', '\0'}) {
    EXPECT_FALSE(IsWellFormedId(std::string(25, '0') + c)) << c;
  }
}

TEST(ThreadPoolTest, OneThreadKeepsTheOrder) {
  std::vector<int> order;
  {
    ThreadPool pool(1);
    EXPECT_EQ(pool.thread_count(), 1);
    for (int i = 0; i < 100; ++i) pool.Schedule([&order, i] { order.push_back(i); });
  }
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST(ThreadPoolTest, WithoutThreadsSchedulingATaskRunsIt) {
  ThreadPool pool(0);
  EXPECT_EQ(pool.thread_count(), 1);
  std::vector<int> order;
  pool.Schedule([&] {
    order.push_back(1);
    pool.Schedule([&] { order.push_back(2); });
    order.push_back(3);
  });
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(ThreadPoolTest, RunsTasksAtTheSameTime) {
  // Each task waits for all of them, which only as many threads can satisfy.
  absl::Barrier barrier(4);
  ThreadPool pool(3);
  absl::BlockingCounter done(3);
  const auto task = [&] {
    static_cast<void>(barrier.Block());
    done.DecrementCount();
  };
  for (int i = 0; i < 3; ++i) pool.Schedule(task);
  static_cast<void>(barrier.Block());
  done.Wait();
}

TEST(ThreadPoolTest, DestructorRunsWhatIsQueued) {
  absl::Notification release;
  std::vector<int> ran;
  std::thread releaser;
  {
    ThreadPool pool(1);
    pool.Schedule([&] { release.WaitForNotification(); });
    for (int i = 0; i < 10; ++i) pool.Schedule([&ran, i] { ran.push_back(i); });
    EXPECT_THAT(ran, IsEmpty());
    releaser = std::thread([&] { release.Notify(); });
  }
  releaser.join();
  EXPECT_EQ(ran.size(), 10u);
}

class PosixFileSystemTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = absl::StrCat(testing::TempDir(), "wdelta_base_test_", getpid(), "_", info->name());
    ASSERT_TRUE(files_->CreateDirectories(folder_ + "/a/b").ok());
  }
  void TearDown() override { EXPECT_TRUE(files_->RemoveAll(folder_).ok()); }

  std::string Content(const std::string& path) {
    auto file = files_->OpenForRead(path);
    if (!file.ok()) return file.status().ToString();
    std::string content(*(*file)->SizeBytes(), '?');
    EXPECT_TRUE((*file)->Read(0, content.data(), content.size()).ok());
    return content;
  }

  const std::unique_ptr<FileSystem> files_ = NewPosixFileSystem();
  std::string folder_;
};

TEST_F(PosixFileSystemTest, AppendsCutsAndReads) {
  const std::string path = folder_ + "/file";
  {
    auto file = files_->OpenForAppend(path, 0);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->Append("hello ").ok());
    EXPECT_TRUE((*file)->Append("").ok());
    EXPECT_TRUE((*file)->Append("world").ok());
    EXPECT_TRUE((*file)->Sync().ok());
  }
  EXPECT_EQ(Content(path), "hello world");
  {
    auto file = files_->OpenForAppend(path, 5);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->Append("!").ok());
  }
  EXPECT_EQ(Content(path), "hello!");
  const absl::Status beyond = files_->OpenForAppend(path, 7).status();
  EXPECT_EQ(beyond.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(beyond.message(), HasSubstr("expected at least 7 bytes, found 6"));
  EXPECT_EQ(Content(path), "hello!");
}

TEST_F(PosixFileSystemTest, ReadsRangesAndFindsTheEnd) {
  const std::string path = folder_ + "/file";
  ASSERT_TRUE((*files_->OpenForAppend(path, 0))->Append("0123456789").ok());
  auto file = files_->OpenForRead(path);
  ASSERT_TRUE(file.ok()) << file.status();
  char range[4];
  ASSERT_TRUE((*file)->Read(3, range, 4).ok());
  EXPECT_EQ(std::string(range, 4), "3456");
  EXPECT_TRUE((*file)->Read(10, range, 0).ok());
  const absl::Status beyond = (*file)->Read(8, range, 4);
  EXPECT_EQ(beyond.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(beyond.message(), HasSubstr("expected 4 bytes at offset 8, found 2"));
}

TEST_F(PosixFileSystemTest, Folders) {
  ASSERT_TRUE(files_->OpenForAppend(folder_ + "/z", 0).ok());
  EXPECT_THAT(files_->List(folder_).value(), ElementsAre("a", "z"));
  EXPECT_THAT(files_->List(folder_ + "/absent").value(), IsEmpty());
  EXPECT_TRUE(files_->SyncDirectory(folder_).ok());
  EXPECT_TRUE(files_->CreateDirectories(folder_ + "/a/b").ok());
  EXPECT_TRUE(files_->RemoveAll(folder_ + "/a").ok());
  EXPECT_TRUE(files_->RemoveAll(folder_ + "/a").ok());
  EXPECT_THAT(files_->List(folder_).value(), ElementsAre("z"));
  EXPECT_GT(files_->FreeBytes(folder_).value(), 0u);
}

TEST_F(PosixFileSystemTest, ErrorsNameThePath) {
  const absl::Status absent = files_->OpenForRead(folder_ + "/absent").status();
  EXPECT_EQ(absent.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(absent.message(), HasSubstr(folder_ + "/absent"));
  EXPECT_EQ(files_->OpenForAppend(folder_ + "/no/file", 0).status().code(),
            absl::StatusCode::kNotFound);
  ASSERT_TRUE(files_->OpenForAppend(folder_ + "/z", 0).ok());
  EXPECT_FALSE(files_->CreateDirectories(folder_ + "/z/under").ok());
  EXPECT_FALSE(files_->SyncDirectory(folder_ + "/z").ok());
}

}  // namespace
}  // namespace wdelta

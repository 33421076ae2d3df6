// Uploads that nobody goes on with are cancelled, and only those.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "tests/engine/engine_fixture.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr char kPath[] = "note.txt";

class UploadExpiryTest : public EngineTest {
 protected:
  UploadExpiryTest() {
    upload_ttl_ = absl::Hours(10);
    Restart();
  }

  Uploads& uploads() { return store_->uploads(); }

  std::string Open(const std::string& request_id = "") {
    StartUploadParams params;
    params.name = "m";
    params.request_id = request_id;
    const auto upload = uploads().Start(params);
    EXPECT_TRUE(upload.ok()) << upload.status();
    return upload->record.id();
  }
  void Declare(const std::string& id) {
    EXPECT_TRUE(uploads().AddEntries(id, {{kPath, 100, ""}}).ok());
  }
  void WriteSome(const std::string& id, uint64_t offset) {
    const auto writer = uploads().OpenWriter(id);
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_TRUE((*writer)->Write(kPath, offset, "0123456789").ok());
    EXPECT_TRUE((*writer)->Sync().ok());
  }
  std::vector<std::string> ExpireIdle() {
    const auto expired = uploads().ExpireIdle();
    EXPECT_TRUE(expired.ok()) << expired.status();
    return expired.value_or(std::vector<std::string>());
  }
};

TEST_F(UploadExpiryTest, AnIdleUploadIsCancelledAndItsSpaceFreed) {
  const std::string id = Open("request");
  Declare(id);
  WriteSome(id, 0);
  EXPECT_EQ(uploads().Get(id)->expire_time, clock_.Now() + absl::Hours(10));
  clock_.Advance(absl::Hours(10) - absl::Seconds(1));
  EXPECT_THAT(ExpireIdle(), IsEmpty());
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(ExpireIdle(), ElementsAre(id));
  EXPECT_THAT(ExpireIdle(), IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  EXPECT_THAT(catalog_.Scan({"staged/", "staged0", 10, false})->records, IsEmpty());
  EXPECT_THAT(uploads().ListOpen("", 10)->items, IsEmpty());

  const UploadView view = *uploads().Get(id);
  EXPECT_EQ(view.record.state(), store::v1::UploadRecord::CANCELLED);
  EXPECT_TRUE(view.record.expired());
  EXPECT_EQ(view.expire_time, absl::InfiniteFuture());
  for (const absl::Status& status :
       {uploads().AddEntries(id, {}).status(), uploads().FindContent(id, {}).status(),
        uploads().OpenWriter(id).status(), uploads().Finish(id, {}).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(ErrorReason(status), "UPLOAD_EXPIRED") << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("another request id"));
  }
  EXPECT_TRUE(uploads().Cancel(id).ok()) << "harmless, as of one that was cancelled";
  EXPECT_EQ(Open("request"), id) << "the request still tells what became of it";
}

TEST_F(UploadExpiryTest, ActivityPutsItOff) {
  const std::string id = Open();
  clock_.Advance(absl::Hours(9));
  Declare(id);
  clock_.Advance(absl::Hours(9));
  EXPECT_THAT(ExpireIdle(), IsEmpty());
  WriteSome(id, 0);
  clock_.Advance(absl::Hours(9));
  EXPECT_THAT(ExpireIdle(), IsEmpty());
  Restart();
  WriteSome(id, 10);
  clock_.Advance(absl::Hours(9));
  EXPECT_THAT(ExpireIdle(), IsEmpty());
  EXPECT_EQ(uploads().Get(id)->expire_time, clock_.Now() + absl::Hours(1));
  clock_.Advance(absl::Hours(1));
  EXPECT_THAT(ExpireIdle(), ElementsAre(id));
}

TEST_F(UploadExpiryTest, NotWhileItIsBeingWritten) {
  const std::string id = Open();
  Declare(id);
  {
    const auto writer = uploads().OpenWriter(id);
    ASSERT_TRUE(writer.ok()) << writer.status();
    clock_.Advance(absl::Hours(11));
    EXPECT_THAT(ExpireIdle(), IsEmpty());
    ASSERT_TRUE((*writer)->Write(kPath, 0, "0123456789").ok());
    ASSERT_TRUE((*writer)->Sync().ok());
  }
  EXPECT_THAT(ExpireIdle(), IsEmpty());
  clock_.Advance(absl::Hours(10));
  EXPECT_THAT(ExpireIdle(), ElementsAre(id));
}

TEST_F(UploadExpiryTest, FinishedAndCancelledOnesStayWhatTheyAre) {
  ASSERT_TRUE(Upload("done", {{kPath, "note"}}).ok());
  const std::string cancelled = Open();
  ASSERT_TRUE(uploads().Cancel(cancelled).ok());
  clock_.Advance(absl::Hours(100));
  EXPECT_THAT(ExpireIdle(), IsEmpty());
  EXPECT_EQ(ErrorReason(uploads().AddEntries(cancelled, {}).status()), "UPLOAD_ENDED");
  EXPECT_EQ(ReadBack("done").at(kPath), "note");
}

// The client may come back as late as the upload was long without activity.
TEST_F(UploadExpiryTest, WhatBecameOfItIsToldForAWhileFromItsEndOn) {
  const absl::Duration kept = absl::Milliseconds(limits::kKeepEndedMs);
  upload_ttl_ = 2 * kept;
  Restart();
  const std::string expired = Open("request");
  const std::string cancelled = Open();
  clock_.Advance(2 * kept);
  ASSERT_TRUE(uploads().Cancel(cancelled).ok());
  ASSERT_THAT(ExpireIdle(), ElementsAre(expired));
  const auto reasons_after_gc = [&] {
    EXPECT_TRUE(store_->maintenance().StartGc().ok());
    RunJobs();
    return std::pair(ErrorReason(uploads().OpenWriter(expired).status()),
                     ErrorReason(uploads().OpenWriter(cancelled).status()));
  };
  EXPECT_THAT(reasons_after_gc(), Pair("UPLOAD_EXPIRED", "UPLOAD_ENDED"));
  clock_.Advance(kept - absl::Seconds(1));
  EXPECT_THAT(reasons_after_gc(), Pair("UPLOAD_EXPIRED", "UPLOAD_ENDED"));
  clock_.Advance(absl::Seconds(1));
  EXPECT_THAT(reasons_after_gc(), Pair("UPLOAD_NOT_FOUND", "UPLOAD_NOT_FOUND"));
  EXPECT_NE(Open("request"), expired);
}

TEST_F(UploadExpiryTest, AViewTakesTwoReadsHoweverManyFilesThereAre) {
  const std::string id = Open();
  std::vector<EntryParams> entries;
  for (int i = 0; i < 50; ++i) entries.push_back({absl::StrCat("f", i), 10, ""});
  ASSERT_TRUE(uploads().AddEntries(id, entries).ok());
  {
    const auto writer = uploads().OpenWriter(id);
    ASSERT_TRUE(writer.ok()) << writer.status();
    clock_.Advance(absl::Hours(1));
    ASSERT_TRUE((*writer)->Write("f7", 0, "0123456789").ok());
    ASSERT_TRUE((*writer)->Write("f49", 0, "0123").ok());
    ASSERT_TRUE((*writer)->Sync().ok());
  }
  catalog_.reads = 0;
  const UploadView view = *uploads().Get(id);
  EXPECT_EQ(catalog_.reads, 2) << "the upload, and what is staged of it";
  std::vector<uint64_t> expected(50, 0);
  expected[7] = 10;
  expected[49] = 4;
  EXPECT_EQ(view.durable_bytes, expected);
  EXPECT_EQ(view.expire_time, clock_.Now() + absl::Hours(10));
}

TEST_F(UploadExpiryTest, ACrashInBetweenLeaksNothing) {
  for (int steps = 0; steps < 3; ++steps) {
    const std::string id = Open();
    Declare(id);
    WriteSome(id, 0);
    clock_.Advance(absl::Hours(10));
    crash_.steps_left = steps;
    (void)uploads().ExpireIdle();
    Restart();
    (void)ExpireIdle();
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path())) << steps;
    EXPECT_EQ(ErrorReason(uploads().OpenWriter(id).status()), "UPLOAD_EXPIRED") << steps;
  }
}

TEST_F(UploadExpiryTest, NeverWithoutALimit) {
  upload_ttl_ = absl::InfiniteDuration();
  Restart();
  const std::string id = Open();
  clock_.Advance(absl::Hours(100'000));
  EXPECT_THAT(ExpireIdle(), IsEmpty());
  EXPECT_EQ(uploads().Get(id)->expire_time, absl::InfiniteFuture());
}

}  // namespace
}  // namespace wdelta::testing

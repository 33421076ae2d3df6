// A disk that is full or broken while an upload is staged: a clear error, nothing
// stored is harmed, and the upload goes on once the disk is well again.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "tests/engine/disk_fault_fixture.h"

namespace wdelta {
namespace {

using testing::DiskFaultTest;
using testing::DiskFullError;
using testing::FaultFileSystem;
using testing::FileOperation;
using ::testing::HasSubstr;
using testing::InputOutputError;

constexpr char kPath[] = "model.safetensors";

// Until somebody mends it.
TEST_F(DiskFaultTest, JobsWaitWhileTheBlobStoreLacksWrites) {
  blobs_.before_put = [] {
    return MakeError(absl::StatusCode::kDataLoss, "DATABASE_WENT_BACK", "blob store: lost");
  };
  ASSERT_TRUE(Upload("next", next_).ok());
  for (uint32_t attempt = 0; attempt < 2 * limits::kMaxJobFailures; ++attempt) {
    absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
    ASSERT_TRUE(claim.ok()) << claim.status();
    ASSERT_TRUE(claim->job.has_value()) << "attempt " << attempt;
    const absl::Status status = store_->runner().Run(*std::move(claim->job), [] { return false; });
    EXPECT_EQ(ErrorReason(status), "DATABASE_WENT_BACK") << status;
    clock_.Advance(absl::Minutes(10));
  }
  blobs_.before_put = nullptr;
  RunJobs();
  ExpectEqual("next", next_);
  ExpectEqual("good", good_);
}

TEST_F(DiskFaultTest, AClearErrorAndThenTheUploadGoesOn) {
  using Code = absl::StatusCode;
  for (const auto operation :
       {FileOperation::kOpenForAppend, FileOperation::kAppend, FileOperation::kSync}) {
    for (const bool is_full : {true, false}) {
      for (const int skip : {0, 1, 3}) {
        SCOPED_TRACE(absl::StrCat("operation ", static_cast<int>(operation), ", full ", is_full,
                                  ", after ", skip));
        const auto id = Open("next", next_);
        ASSERT_TRUE(id.ok()) << id.status();
        files_.Fail(operation, is_full ? DiskFullError : InputOutputError, skip);
        const absl::Status status = Write(*id, next_);
        files_.Heal();
        // There are two files, each opened and synced once.
        if (skip < 2 || operation == FileOperation::kAppend) {
          EXPECT_EQ(status.code(), is_full ? Code::kResourceExhausted : Code::kInternal) << status;
          EXPECT_EQ(ErrorReason(status), is_full ? "DISK_FULL" : "");
          EXPECT_THAT(std::string(status.message()),
                      HasSubstr(is_full ? "No space left on device" : "Input/output error"));
        }
        ExpectEqual("good", good_);
        const absl::Status rest = Write(*id, next_);
        ASSERT_TRUE(rest.ok()) << rest;
        const auto finished = store_->uploads().Finish(*id, {});
        ASSERT_TRUE(finished.ok()) << finished.status();
        RunJobs();
        ExpectEqual("next", next_);
        ASSERT_TRUE(store_->models().Delete("next").ok());
        RunJobs();
      }
    }
  }
  ExpectEqual("good", good_);
}

// After a failed fsync Linux forgets that the pages were dirty: a second fsync says
// OK though they are lost. So the first failure must stand.
TEST_F(DiskFaultTest, AFailedSyncIsNotForgottenByTheNext) {
  const auto id = Open("next", next_);
  ASSERT_TRUE(id.ok()) << id.status();
  {
    auto writer = store_->uploads().OpenWriter(*id);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Write(kPath, 0, next_.at(kPath).substr(0, 1000)).ok());
    files_.Fail(FileOperation::kSync, InputOutputError);
    EXPECT_FALSE((*writer)->Sync().ok());
    EXPECT_FALSE((*writer)->Sync().ok());
    EXPECT_FALSE((*writer)->Write(kPath, 1000, "x").ok());
  }
  const auto upload = store_->uploads().Get(*id);
  ASSERT_TRUE(upload.ok());
  EXPECT_THAT(upload->durable_bytes, ::testing::Each(0u));
}

// A failed Append may have left a part of its data: nothing may follow that.
TEST_F(DiskFaultTest, NothingIsAppendedBehindAPartOfAPiece) {
  const auto id = Open("next", next_);
  ASSERT_TRUE(id.ok()) << id.status();
  const std::string& bytes = next_.at(kPath);
  {
    auto writer = store_->uploads().OpenWriter(*id);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Write(kPath, 0, bytes.substr(0, 1000)).ok());
    files_.Fail(FileOperation::kAppend, DiskFullError);
    EXPECT_FALSE((*writer)->Write(kPath, 1000, bytes.substr(1000, 500)).ok());
    files_.Heal();
    EXPECT_EQ(ErrorReason((*writer)->Write(kPath, 1000, bytes.substr(1000, 500))), "DISK_FULL");
    EXPECT_TRUE((*writer)->Sync().ok());
  }
  ASSERT_TRUE(Write(*id, next_).ok());
  ASSERT_TRUE(store_->uploads().Finish(*id, {}).ok());
  ExpectEqual("next", next_);
}

TEST_F(DiskFaultTest, AnUploadThatCannotBeOpenedLeavesNoTrace) {
  for (const auto operation : {FileOperation::kCreateDirectories, FileOperation::kSyncDirectory}) {
    files_.Fail(operation, DiskFullError);
    EXPECT_EQ(ErrorReason(Open("next", next_).status()), "DISK_FULL");
    files_.Heal();
    const auto open = store_->uploads().ListOpen("", 10);
    ASSERT_TRUE(open.ok());
    EXPECT_TRUE(open->items.empty());
  }
  EXPECT_TRUE(Upload("next", next_).ok());
}

// Below the watermark nothing is written, what is stored is served, and jobs wait; above it
// they go on.
TEST_F(DiskFaultTest, AFullDiskTurnsTheStoreReadOnlyUntilThereIsSpaceAgain) {
  const auto id = Open("next", next_);
  ASSERT_TRUE(id.ok()) << id.status();
  ASSERT_TRUE(Upload("waits", next_).ok());

  files_.SetFreeBytes(limits::kDefaultMinFreeBytes - 1);
  EXPECT_EQ(ErrorReason(Open("other", next_).status()), "DISK_FULL");
  EXPECT_EQ(ErrorReason(store_->uploads().AddEntries(*id, {{"more", 1, ""}}).status()),
            "DISK_FULL");
  EXPECT_EQ(ErrorReason(Write(*id, next_)), "DISK_FULL");
  ExpectEqual("good", good_);
  ExpectEqual("waits", next_);
  for (int i = 0; i < 5; ++i) {  // more often than a job that fails is tried again
    const auto claim = store_->jobs().ClaimNext();
    ASSERT_TRUE(claim.ok() && claim->job.has_value());
    const absl::Status status = store_->runner().Run(*claim->job, [] { return false; });
    EXPECT_EQ(ErrorReason(status), "DISK_FULL") << status;
    EXPECT_FALSE(store_->jobs().ClaimNext()->job.has_value()) << "does not wait";
    clock_.Advance(absl::Minutes(1));
  }
  EXPECT_EQ(StateOf("waits"), store::v1::ModelRecord::STAGED);

  // Hysteresis: just above it is not enough.
  files_.SetFreeBytes(limits::kDefaultMinFreeBytes + 1);
  EXPECT_EQ(ErrorReason(Write(*id, next_)), "DISK_FULL");
  files_.SetFreeBytes(std::nullopt);
  RunJobs();
  EXPECT_EQ(StateOf("waits"), store::v1::ModelRecord::READY);
  ExpectEqual("waits", next_);
  ASSERT_TRUE(Write(*id, next_).ok());
  ASSERT_TRUE(store_->uploads().Finish(*id, {}).ok());
  ExpectEqual("next", next_);
}

TEST_F(DiskFaultTest, WhatFreesSpaceGoesOnWhileTheDiskIsFull) {
  files_.SetFreeBytes(0);
  ASSERT_TRUE(store_->models().Delete("good").ok());
  const auto gc = store_->maintenance().StartGc();
  ASSERT_TRUE(gc.ok()) << gc.status();
  RunJobs();
  EXPECT_TRUE(blobs_.List("", 10)->blobs.empty());
}

TEST_F(DiskFaultTest, AJobThatWouldFillTheDiskDoesNotBegin) {
  ASSERT_TRUE(Upload("next", next_).ok());
  files_.SetFreeBytes(limits::kDefaultMinFreeBytes + 1000);
  const auto claim = store_->jobs().ClaimNext();
  ASSERT_TRUE(claim.ok() && claim->job.has_value());
  const size_t blobs = blobs_.List("", 1000)->blobs.size();
  const absl::Status status = store_->runner().Run(*claim->job, [] { return false; });
  EXPECT_EQ(ErrorReason(status), "DISK_FULL") << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("model 'next': expected at least"));
  EXPECT_EQ(blobs_.List("", 1000)->blobs.size(), blobs);
  EXPECT_EQ(store_->disk().Look()->reserved_bytes, 0u);
}

TEST_F(DiskFaultTest, AMergeThatWouldFillTheDiskIsRefused) {
  MergeParams params;
  params.name = "merged";
  params.recipe.set_method(store::v1::MergeRecipe::TASK_ARITHMETIC);
  params.recipe.add_sources()->set_weight(1);
  params.recipe.set_scale(1);
  params.base = "good";
  ASSERT_TRUE(Upload("next", next_).ok());
  RunJobs();
  params.sources = {"next"};
  files_.SetFreeBytes(limits::kDefaultMinFreeBytes + 1000);
  const absl::Status status = store_->merges().Start(params).status();
  EXPECT_EQ(ErrorReason(status), "DISK_FULL") << status;
  EXPECT_FALSE(store_->models().Resolve("merged").ok());
  files_.SetFreeBytes(std::nullopt);
  EXPECT_TRUE(store_->merges().Start(params).ok());
  RunJobs();
  EXPECT_EQ(StateOf("merged"), store::v1::ModelRecord::READY);
}

TEST_F(DiskFaultTest, ARunningUploadStopsAtTheWatermarkAndGoesOn) {
  const testing::TestFiles files = {{"notes.txt", std::string(12 * limits::kMiB, 'n')}};
  const std::string& bytes = files.at("notes.txt");
  const auto id = Open("next", files);
  ASSERT_TRUE(id.ok()) << id.status();
  uint64_t written_bytes = 0;
  {
    const auto writer = store_->uploads().OpenWriter(*id);
    ASSERT_TRUE(writer.ok()) << writer.status();
    files_.SetFreeBytes(limits::kDefaultMinFreeBytes - 1);
    absl::Status status;
    while (status.ok() && written_bytes < bytes.size()) {
      status =
          (*writer)->Write("notes.txt", written_bytes, bytes.substr(written_bytes, limits::kMiB));
      if (status.ok()) written_bytes += limits::kMiB;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(ErrorReason(status), "DISK_FULL");
    EXPECT_THAT(std::string(status.message()), HasSubstr("upload '"));
    EXPECT_LE(written_bytes, limits::kDiskCheckBytes);
    EXPECT_TRUE((*writer)->Sync().ok());
  }
  EXPECT_EQ(store_->uploads().Get(*id)->durable_bytes[0], written_bytes);
  EXPECT_EQ(ErrorReason(Write(*id, files)), "DISK_FULL");
  files_.SetFreeBytes(std::nullopt);
  ASSERT_TRUE(Write(*id, files).ok());
  ASSERT_TRUE(store_->uploads().Finish(*id, {}).ok());
  ExpectEqual("next", files);
}

TEST_F(DiskFaultTest, ACopyStopsAtTheWatermarkAndLeavesWhatWasThereBefore) {
  const testing::TestFiles files = {{"notes.txt", std::string(12 * limits::kMiB, 'n')}};
  const std::string& bytes = files.at("notes.txt");
  const Digest digest = Digest::Of(bytes);
  ASSERT_TRUE(Upload("notes", files).ok());
  RunJobs();
  const testing::TestFiles twice = {{"twice.txt", bytes + bytes}};
  const auto id = Open("next", twice);
  ASSERT_TRUE(id.ok()) << id.status();
  {
    const auto writer = store_->uploads().OpenWriter(*id);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Write("twice.txt", 0, bytes).ok());
    files_.SetFreeBytes(limits::kDefaultMinFreeBytes - 1);
    const absl::Status status = (*writer)->Copy("twice.txt", bytes.size(), digest, bytes.size());
    EXPECT_EQ(ErrorReason(status), "DISK_FULL") << status;
    EXPECT_TRUE((*writer)->Sync().ok());
  }
  EXPECT_EQ(store_->uploads().Get(*id)->durable_bytes[0], bytes.size());
  files_.SetFreeBytes(std::nullopt);
  {
    const auto writer = store_->uploads().OpenWriter(*id);
    ASSERT_TRUE(writer.ok()) << writer.status();
    EXPECT_TRUE((*writer)->Copy("twice.txt", bytes.size(), digest, bytes.size()).ok());
    EXPECT_TRUE((*writer)->Sync().ok());
  }
  ASSERT_TRUE(store_->uploads().Finish(*id, {}).ok());
  ExpectEqual("next", twice);
}

TEST_F(DiskFaultTest, AnUploadKeepsItsSpaceWhileItIsOpen) {
  const uint64_t size = next_.at(kPath).size() + next_.at("config.json").size();
  const auto reserved = [this] { return store_->disk().Look()->reserved_bytes; };
  files_.SetFreeBytes(limits::kDefaultMinFreeBytes + 2 * size - 1);
  const auto first = Open("first", next_);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(reserved(), size);
  EXPECT_EQ(ErrorReason(Open("second", next_).status()), "DISK_FULL");
  EXPECT_EQ(reserved(), size) << "of the refused one";
  // Declared again, as by a client that comes back.
  ASSERT_TRUE(store_->uploads().AddEntries(*first, {{kPath, next_.at(kPath).size(), ""}}).ok());
  EXPECT_EQ(reserved(), size);

  {
    const auto writer = store_->uploads().OpenWriter(*first);
    ASSERT_TRUE(writer.ok()) << writer.status();
    ASSERT_TRUE((*writer)->Write(kPath, 0, next_.at(kPath).substr(0, 1000)).ok());
    ASSERT_TRUE((*writer)->Sync().ok());
  }
  EXPECT_EQ(reserved(), size - 1000);
  ModelStoreOptions options;
  options.staging_dir = folder_.path();
  store_ = std::make_unique<ModelStore>(
      ModelStore::Dependencies{&blobs_, &catalog_, &files_, &clock_}, options);
  ASSERT_TRUE(store_->Recover().ok());
  EXPECT_EQ(reserved(), size - 1000) << "after a restart";
  ASSERT_TRUE(store_->uploads().Cancel(*first).ok());
  EXPECT_EQ(reserved(), 0u);
  EXPECT_TRUE(Upload("second", next_).ok());
  EXPECT_EQ(reserved(), 0u);
}

TEST_F(DiskFaultTest, TooLittleSpaceIsSaidBeforeAnythingIsSent) {
  files_.SetFreeBytes(1000);
  const absl::Status status = Open("next", next_).status();
  EXPECT_EQ(ErrorReason(status), "DISK_FULL");
  EXPECT_THAT(std::string(status.message()), HasSubstr("bytes of free disk space, found 1000"));
  files_.SetFreeBytes(std::nullopt);
  EXPECT_TRUE(Upload("other", next_).ok());
}

}  // namespace
}  // namespace wdelta

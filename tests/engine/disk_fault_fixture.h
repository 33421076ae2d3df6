// A store over a disk, and over blobs, that fail when they are told to.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/blobs/memory_blob_store.h"
#include "storage/catalog/memory_catalog.h"
#include "storage/engine/model_store.h"
#include "tests/engine/hooked_storage.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/fault_file_system.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {

class DiskFaultTest : public ::testing::Test {
 protected:
  DiskFaultTest() {
    ModelStoreOptions options;
    options.staging_dir = folder_.path();
    store_ = std::make_unique<ModelStore>(
        ModelStore::Dependencies{&blobs_, &catalog_, &files_, &clock_}, options);
    EXPECT_TRUE(Upload("good", good_).ok());
    RunJobs();
  }

  absl::StatusOr<std::string> Open(const std::string& name, const TestFiles& files) {
    StartUploadParams params;
    params.name = name;
    const auto upload = store_->uploads().Start(params);
    if (!upload.ok()) return upload.status();
    std::vector<EntryParams> entries;
    for (const auto& [path, bytes] : files) entries.push_back({path, bytes.size(), ""});
    const auto added = store_->uploads().AddEntries(upload->record.id(), entries);
    if (!added.ok()) return added.status();
    return upload->record.id();
  }

  // Sends what is not durable in pieces, as the server's stream of pieces does it:
  // what came before an error is synced.
  absl::Status Write(const std::string& id, const TestFiles& files) {
    constexpr size_t kPieceBytes = 100'000;
    const auto upload = store_->uploads().Get(id);
    if (!upload.ok()) return upload.status();
    auto writer = store_->uploads().OpenWriter(id);
    if (!writer.ok()) return writer.status();
    for (int i = 0; i < upload->record.entries_size(); ++i) {
      const std::string& path = upload->record.entries(i).path();
      const std::string& bytes = files.at(path);
      for (size_t at = upload->durable_bytes[i]; at < bytes.size(); at += kPieceBytes) {
        const absl::Status status = (*writer)->Write(path, at, bytes.substr(at, kPieceBytes));
        if (status.ok()) continue;
        (void)(*writer)->Sync();
        return status;
      }
    }
    return (*writer)->Sync().status();
  }

  absl::Status Upload(const std::string& name, const TestFiles& files) {
    const auto id = Open(name, files);
    if (!id.ok()) return id.status();
    const absl::Status written = Write(*id, files);
    if (!written.ok()) return written;
    return store_->uploads().Finish(*id, {}).status();
  }

  void RunJobs() {
    while (true) {
      absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
      ASSERT_TRUE(claim.ok()) << claim.status();
      if (!claim->job.has_value()) return;
      const absl::Status status =
          store_->runner().Run(*std::move(claim->job), [] { return false; });
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  store::v1::ModelRecord::State StateOf(const std::string& name) {
    return store_->models().Resolve(name)->record.state();
  }

  void ExpectEqual(const std::string& name, const TestFiles& files) {
    const auto model = store_->models().Resolve(name);
    ASSERT_TRUE(model.ok()) << model.status();
    const auto source = store_->reader().Open(model->record);
    ASSERT_TRUE(source.ok()) << source.status();
    const Checkpoint& checkpoint = (*source)->checkpoint();
    for (uint32_t i = 0; i < checkpoint.files.size(); ++i) {
      const auto cursor = store_->reader().NewCursor(
          *source, RangesOfFile(checkpoint, i, 0, checkpoint.files[i].size_bytes));
      std::string bytes;
      while (true) {
        const auto piece = cursor->Next();
        ASSERT_TRUE(piece.ok()) << piece.status();
        if (!piece->has_value()) break;
        bytes += (*piece)->data;
      }
      EXPECT_TRUE(bytes == files.at(checkpoint.files[i].path)) << checkpoint.files[i].path;
    }
  }

  const TempFolder folder_;
  const std::unique_ptr<FileSystem> posix_ = NewPosixFileSystem();
  FaultFileSystem files_{posix_.get()};
  MemoryBlobStore stored_;
  HookedBlobStore blobs_{&stored_};
  MemoryCatalog catalog_;
  ManualClock clock_;
  const TestFiles good_ = SmallCheckpoint(1);
  const TestFiles next_ = SmallCheckpoint(2);
  std::unique_ptr<ModelStore> store_;
};

}  // namespace wdelta::testing

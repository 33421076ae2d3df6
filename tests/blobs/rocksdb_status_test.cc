#include "storage/blobs/rocksdb_status.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

TEST(RocksdbStatus, MapsCodes) {
  using rocksdb::Status;
  EXPECT_TRUE(FromRocksdb(Status::OK(), "x").ok());
  EXPECT_TRUE(absl::IsDataLoss(FromRocksdb(Status::Corruption("bad block"), "x")));
  EXPECT_TRUE(absl::IsUnavailable(FromRocksdb(Status::Busy(), "x")));
  EXPECT_TRUE(absl::IsUnavailable(FromRocksdb(Status::TimedOut(), "x")));
  EXPECT_TRUE(absl::IsUnavailable(FromRocksdb(Status::TryAgain(), "x")));
  EXPECT_TRUE(absl::IsUnavailable(FromRocksdb(Status::ShutdownInProgress(), "x")));
  EXPECT_TRUE(absl::IsInternal(FromRocksdb(Status::IOError("broken"), "x")));
  EXPECT_TRUE(absl::IsInternal(FromRocksdb(Status::NotFound(), "x")));
}

TEST(RocksdbStatus, NamesAFullDisk) {
  for (const rocksdb::Status& status :
       {rocksdb::Status::NoSpace("write", "file"), rocksdb::Status::SpaceLimit("limit"),
        rocksdb::Status::IOError("While appending to file", "Disk quota exceeded"),
        rocksdb::Status::Incomplete("IO error: No space left on device")}) {
    const absl::Status mapped = FromRocksdb(status, "blob store /d: put");
    EXPECT_TRUE(absl::IsResourceExhausted(mapped)) << mapped;
    EXPECT_EQ(ErrorReason(mapped), "DISK_FULL");
    EXPECT_THAT(std::string(mapped.message()), testing::StartsWith("blob store /d: put: "));
  }
}

TEST(RocksdbStatus, NamesAHeldLock) {
  for (const char* text : {"While lock file: /d/LOCK", "lock hold by current process, acquire"}) {
    const absl::Status mapped = FromRocksdb(rocksdb::Status::IOError(text), "x");
    EXPECT_TRUE(absl::IsFailedPrecondition(mapped)) << mapped;
    EXPECT_EQ(ErrorReason(mapped), "DATA_DIR_IN_USE");
  }
}

}  // namespace
}  // namespace wdelta

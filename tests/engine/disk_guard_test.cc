#include "storage/engine/disk/disk_guard.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/support/fault_file_system.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

class DiskGuardTest : public ::testing::Test {
 protected:
  std::string ReserveReason(uint64_t bytes) {
    return ErrorReason(guard_.Reserve(bytes, "test").status());
  }

  const TempFolder folder_;
  const std::unique_ptr<FileSystem> posix_ = NewPosixFileSystem();
  testing::FaultFileSystem files_{posix_.get()};
  DiskGuard guard_{&files_, folder_.path(), 1000};
};

TEST_F(DiskGuardTest, IsFullBelowTheMinimumUntilAQuarterMoreIsFree) {
  const auto is_full_at = [this](uint64_t free_bytes) {
    files_.SetFreeBytes(free_bytes);
    return guard_.Look()->is_full;
  };
  EXPECT_FALSE(is_full_at(1000));
  EXPECT_TRUE(is_full_at(999));
  EXPECT_TRUE(is_full_at(1000));
  EXPECT_TRUE(is_full_at(1249));
  EXPECT_EQ(ReserveReason(0), "DISK_FULL");
  EXPECT_FALSE(is_full_at(1250));
  EXPECT_FALSE(is_full_at(1000));
  EXPECT_EQ(ReserveReason(0), "");
}

TEST_F(DiskGuardTest, WhatIsReservedIsNotGivenTwice) {
  files_.SetFreeBytes(1500);
  {
    const auto first = guard_.Reserve(300, "first");
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ(guard_.Look()->reserved_bytes, 300u);
    EXPECT_EQ(ReserveReason(201), "DISK_FULL");
    EXPECT_EQ(ReserveReason(200), "");
  }
  EXPECT_EQ(guard_.Look()->reserved_bytes, 0u);
  EXPECT_EQ(ReserveReason(500), "");
}

TEST_F(DiskGuardTest, AReservationCanBeGivenBackInPartsAndJoined) {
  files_.SetFreeBytes(2000);
  {
    auto first = guard_.Reserve(300, "first");
    ASSERT_TRUE(first.ok()) << first.status();
    first->GiveBack(100);
    EXPECT_EQ(first->bytes(), 200u);
    EXPECT_EQ(guard_.Look()->reserved_bytes, 200u);
    auto second = guard_.Reserve(500, "second");
    ASSERT_TRUE(second.ok()) << second.status();
    first->Take(*std::move(second));
    EXPECT_EQ(first->bytes(), 700u);
    EXPECT_EQ(guard_.Look()->reserved_bytes, 700u);
    EXPECT_EQ(ReserveReason(301), "DISK_FULL");
    first->GiveBack(9000);
    EXPECT_EQ(guard_.Look()->reserved_bytes, 0u);
  }
  EXPECT_EQ(guard_.Look()->reserved_bytes, 0u);
}

TEST_F(DiskGuardTest, AHolderWritesUntilTheDiskIsFull) {
  files_.SetFreeBytes(1100);
  const DiskGuard::Reservation promised = guard_.ReserveAnyway(5000);
  EXPECT_EQ(ReserveReason(1), "DISK_FULL");
  EXPECT_TRUE(guard_.CheckNotFull("upload").ok());
  files_.SetFreeBytes(999);
  EXPECT_EQ(guard_.CheckNotFull("upload").message(),
            "upload: expected at least 1250 bytes of free disk space, found 999");
  files_.SetFreeBytes(1249);
  EXPECT_EQ(ErrorReason(guard_.CheckNotFull("upload")), "DISK_FULL");
  files_.SetFreeBytes(1250);
  EXPECT_TRUE(guard_.CheckNotFull("upload").ok());
}

TEST_F(DiskGuardTest, SaysWhatIsMissing) {
  files_.SetFreeBytes(1500);
  const absl::Status status = guard_.Reserve(501, "model 'm'").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(),
            "model 'm': expected at least 1501 bytes of free disk space, found 1500");
  EXPECT_EQ(ReserveReason(std::numeric_limits<uint64_t>::max()), "DISK_FULL");
}

TEST_F(DiskGuardTest, WithoutAMinimumItIsNeverFull) {
  DiskGuard guard(&files_, folder_.path(), 0);
  files_.SetFreeBytes(0);
  EXPECT_FALSE(guard.Look()->is_full);
  EXPECT_TRUE(guard.Reserve(0, "test").ok());
  EXPECT_FALSE(guard.Reserve(1, "test").ok());
}

}  // namespace
}  // namespace wdelta

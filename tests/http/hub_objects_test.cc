#include "server/http/hub_objects.h"

#include <memory>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "server/http/http_limits.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "tests/support/fault_file_system.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

constexpr uint64_t kMinFreeBytes = 1000;
constexpr absl::Duration kLifetime = absl::Seconds(http_limits::kObjectLifetimeSeconds);
constexpr absl::Duration kSweep = absl::Seconds(http_limits::kObjectSweepSeconds);

class HubObjectsTest : public ::testing::Test {
 protected:
  HubObjectsTest() {
    EXPECT_TRUE(objects_.Clear().ok());
    files_.SetFreeBytes(1 << 30);
  }

  std::unique_ptr<HubObjects::Incoming> Receive(const std::string& content) {
    auto incoming = objects_.Receive("n/m", {Digest::Of(content), content.size()});
    EXPECT_TRUE(incoming.ok()) << incoming.status();
    return incoming.ok() ? *std::move(incoming) : nullptr;
  }
  void Keep(const std::string& content) {
    const auto incoming = Receive(content);
    EXPECT_TRUE(incoming->Append(content).ok());
    EXPECT_TRUE(incoming->Keep().ok());
  }
  bool Has(const std::string& content) {
    return objects_.Find("n/m", Digest::Of(content)) != nullptr;
  }
  size_t FileCount() { return files_.List(folder_ / "incoming")->size(); }
  uint64_t ReservedBytes() { return disk_.Look()->reserved_bytes; }

  TempFolder folder_;
  ManualClock clock_;
  const std::unique_ptr<FileSystem> posix_files_ = NewPosixFileSystem();
  FaultFileSystem files_{posix_files_.get()};
  DiskGuard disk_{&files_, folder_ / "", kMinFreeBytes};
  HubObjects objects_{&files_, &disk_, &clock_, folder_ / "incoming"};
};

TEST_F(HubObjectsTest, SweepsRemoveWhatIsOld) {
  Keep("old");
  clock_.Advance(kLifetime);
  Keep("new");
  objects_.Sweep();
  EXPECT_TRUE(Has("old"));
  clock_.Advance(kSweep);
  objects_.Sweep();
  EXPECT_FALSE(Has("old"));
  EXPECT_TRUE(Has("new"));
  EXPECT_EQ(FileCount(), 1U);
  EXPECT_EQ(ReservedBytes(), 0U);
}

TEST_F(HubObjectsTest, SweepsAreRare) {
  objects_.Sweep();
  Keep("a");
  clock_.Advance(kLifetime + absl::Seconds(1));
  objects_.Sweep();
  EXPECT_FALSE(Has("a"));
  Keep("b");
  clock_.Advance(kSweep - absl::Seconds(1));
  objects_.Sweep();
  EXPECT_TRUE(Has("b"));
}

// What is old is what fills it.
TEST_F(HubObjectsTest, AFullDiskIsFreedOfWhatIsOld) {
  Keep("old");
  clock_.Advance(kLifetime + absl::Seconds(1));
  files_.SetFreeBytes(kMinFreeBytes - 1);
  EXPECT_EQ(ErrorReason(objects_.CheckRoom(1)), "DISK_FULL");
  EXPECT_FALSE(Has("old"));
  EXPECT_EQ(FileCount(), 0U);
}

TEST_F(HubObjectsTest, WhatIsHeldIsReadOnWhenItIsOld) {
  Keep("old");
  HubObjectPtr held = objects_.Find("n/m", Digest::Of("old"));
  clock_.Advance(kLifetime + absl::Seconds(1));
  objects_.Sweep();
  EXPECT_FALSE(Has("old"));
  EXPECT_EQ(FileCount(), 1U);
  held.reset();
  EXPECT_EQ(FileCount(), 0U);
}

TEST_F(HubObjectsTest, WhatIsWrittenIsNotReserved) {
  const std::string content(1000, 'a');
  auto incoming = Receive(content);
  EXPECT_EQ(ReservedBytes(), 2 * content.size());  // its commit copies it
  ASSERT_TRUE(incoming->Append(content.substr(0, 600)).ok());
  EXPECT_EQ(ReservedBytes(), 2 * content.size() - 600);
  ASSERT_TRUE(incoming->Append(content.substr(600)).ok());
  EXPECT_EQ(ReservedBytes(), content.size());
  ASSERT_TRUE(incoming->Keep().ok());
  incoming.reset();
  EXPECT_EQ(ReservedBytes(), 0U);
  Receive(content);  // given up
  EXPECT_EQ(ReservedBytes(), 0U);
  EXPECT_EQ(FileCount(), 1U);
}

TEST_F(HubObjectsTest, ADiskThatOthersFillEndsWhatIsReceived) {
  const std::string content(2 * limits::kDiskCheckBytes, 'a');
  auto incoming = Receive(content);
  const absl::string_view half = absl::string_view(content).substr(0, limits::kDiskCheckBytes);
  EXPECT_TRUE(incoming->Append(half).ok());
  files_.SetFreeBytes(kMinFreeBytes - 1);
  EXPECT_EQ(ErrorReason(incoming->Append(half)), "DISK_FULL");
  incoming.reset();
  EXPECT_EQ(FileCount(), 0U);
  EXPECT_EQ(ReservedBytes(), 0U);
}

}  // namespace
}  // namespace wdelta::testing

// The engine from seeds: see simulation.h. `./dev simulate` tries more of them.
#include "tests/simulation/simulation.h"

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/simulation/simulated_disk.h"
#include "tests/support/test_seed.h"

namespace wdelta::testing {
namespace {

using ::testing::IsEmpty;

constexpr uint64_t kSeeds = 150;

TEST(SimulationTest, NothingPromisedIsBroken) {
  const uint64_t first = TestSeed(1);
  uint64_t crashes = 0;
  uint64_t faults = 0;
  for (uint64_t seed = first; seed < first + kSeeds; ++seed) {
    const SimulationReport report = Simulate(seed);
    ASSERT_THAT(report.failures, IsEmpty()) << "seed " << seed << "; ./dev simulate 1 " << seed;
    crashes += report.crashes;
    faults += report.faults;
  }
  // It would hold of nothing, too.
  EXPECT_GT(crashes, kSeeds / 2);
  EXPECT_GT(faults, kSeeds);
}

TEST(SimulationTest, TheSameSeedTellsTheSameStory) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    const SimulationReport first = Simulate(seed);
    const SimulationReport second = Simulate(seed);
    ASSERT_EQ(first.operations, second.operations) << "seed " << seed;
    ASSERT_EQ(first.trace_hash, second.trace_hash) << "seed " << seed;
  }
  EXPECT_NE(Simulate(1).trace_hash, Simulate(2).trace_hash);
}

class SimulatedDiskTest : public ::testing::Test {
 protected:
  SimulatedDiskTest() : machine_(1), files_(NewSimulatedFileSystem(&disk_, &machine_)) {}

  std::string BytesOf(const std::string& path) {
    const SimulatedDisk::NodePtr node = disk_.Find(path);
    return node == nullptr ? "nothing" : node->bytes;
  }

  SimulatedDisk disk_;
  Machine machine_;
  std::unique_ptr<FileSystem> files_;
};

TEST_F(SimulatedDiskTest, WhatWasSyncedSurvivesACrash) {
  ASSERT_TRUE(files_->CreateDirectories("/a").ok());
  ASSERT_TRUE(files_->SyncDirectory("/").ok());
  const auto file = *files_->OpenForAppend("/a/f", 0);
  ASSERT_TRUE(file->Append("synced").ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(files_->SyncDirectory("/a").ok());
  ASSERT_TRUE(file->Append("more").ok());
  for (int crash = 0; crash < 20; ++crash) {
    disk_.Crash(machine_.random);
    EXPECT_EQ(BytesOf("/a/f").substr(0, 6), "synced");
  }
}

TEST_F(SimulatedDiskTest, NamesThatWereNotSyncedMayBeLostAndMayComeBack) {
  int lost = 0;
  int back = 0;
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(files_->CreateDirectories("/kept").ok());
    ASSERT_TRUE(files_->SyncDirectory("/").ok());
    ASSERT_TRUE(files_->CreateDirectories("/new").ok());
    ASSERT_TRUE(files_->RemoveAll("/kept").ok());
    disk_.Crash(machine_.random);
    lost += disk_.Find("/new") == nullptr;
    back += disk_.Find("/kept") != nullptr;
    ASSERT_TRUE(files_->RemoveAll("/new").ok());
  }
  EXPECT_GT(lost, 10);
  EXPECT_LT(lost, 90);
  EXPECT_GT(back, 10);
  EXPECT_LT(back, 90);
}

// As Linux has it.
TEST_F(SimulatedDiskTest, BytesOfAFailedSyncAreLostThoughTheNextOneSucceeds) {
  const auto file = *files_->OpenForAppend("/f", 0);
  ASSERT_TRUE(files_->SyncDirectory("/").ok());
  ASSERT_TRUE(file->Append("12345678").ok());
  disk_.Find("/f")->FailSync();
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(BytesOf("/f"), "12345678");
  disk_.Crash(machine_.random);
  EXPECT_NE(BytesOf("/f"), "12345678");
}

TEST_F(SimulatedDiskTest, ADeadDaemonChangesNothing) {
  const auto file = *files_->OpenForAppend("/f", 0);
  machine_.Kill();
  EXPECT_FALSE(file->Append("x").ok());
  EXPECT_FALSE(files_->CreateDirectories("/a").ok());
  EXPECT_EQ(BytesOf("/f"), "");
  EXPECT_EQ(disk_.Find("/a"), nullptr);
}

}  // namespace
}  // namespace wdelta::testing

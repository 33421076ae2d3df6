#include "client/cpp/part_file.h"

#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

using ::testing::HasSubstr;

constexpr char kTag[] = "0123456789abcdef";
constexpr char kOtherTag[] = "fedcba9876543210";

class PartFileTest : public ::testing::Test {
 protected:
  absl::StatusOr<PartFile> Resume(const std::string& tag = kTag) {
    return PartFile::Resume(Destination(), tag, 100);
  }
  std::string Destination() const { return folder_ / "file"; }
  static std::string PartName(const std::string& tag) { return ".file." + tag + ".wdelta-part"; }

  const TempFolder folder_;
};

TEST_F(PartFileTest, HasOneWriterAtATime) {
  std::optional<PartFile> first = *Resume();
  ASSERT_TRUE(first->Append("abc").ok());
  const absl::Status second = Resume().status();
  EXPECT_TRUE(absl::IsAborted(second)) << second;
  EXPECT_EQ(ErrorReason(second), "PART_IN_USE");
  EXPECT_THAT(std::string(second.message()), HasSubstr("writes " + Destination()));
  EXPECT_EQ(folder_.Read(PartName(kTag)), "abc") << "the second one touched the part of the first";
  first->KeepUnfinished();
  first.reset();
  absl::StatusOr<PartFile> third = Resume();
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_EQ(third->resumed_bytes(), 3u);
  PartFile moved = *std::move(third);
  EXPECT_EQ(ErrorReason(Resume().status()), "PART_IN_USE") << "the lock did not move along";
  ASSERT_TRUE(moved.Append("de").ok());
  ASSERT_TRUE(moved.Commit().ok());
  EXPECT_EQ(folder_.Read("file"), "abcde");
  EXPECT_EQ(folder_.EntryCount(), 1u);
}

TEST_F(PartFileTest, WithoutATagItHasOneWriterToo) {
  std::optional<PartFile> first = *PartFile::Create(Destination());
  ASSERT_TRUE(first->Append("abc").ok());
  EXPECT_EQ(ErrorReason(PartFile::Create(Destination()).status()), "PART_IN_USE");
  EXPECT_EQ(folder_.Read(".file.wdelta-part"), "abc");
  first.reset();
  EXPECT_EQ(folder_.EntryCount(), 0u) << "an unfinished part was left";
  folder_.Write(".file.wdelta-part", "left by one that died");
  PartFile second = *PartFile::Create(Destination());
  ASSERT_TRUE(second.Append("xy").ok());
  ASSERT_TRUE(second.Commit().ok());
  EXPECT_EQ(folder_.Read("file"), "xy");
}

TEST_F(PartFileTest, WhatAnotherChangedIsNotCommitted) {
  PartFile part = *Resume();
  ASSERT_TRUE(part.Append("abc").ok());
  // One that knows of no locks.
  folder_.Write(PartName(kTag), "abcabc");
  const absl::Status grown = part.Commit();
  EXPECT_EQ(ErrorReason(grown), "PART_CHANGED") << grown;
  EXPECT_THAT(std::string(grown.message()), HasSubstr("expected 3 bytes, found 6"));
  EXPECT_FALSE(folder_.Has("file"));
}

TEST_F(PartFileTest, ANameThatIsAnothersIsNotTaken) {
  std::optional<PartFile> part = *Resume();
  ASSERT_TRUE(part->Append("abc").ok());
  std::filesystem::remove(folder_ / PartName(kTag));
  folder_.Write(PartName(kTag), "xyz");
  EXPECT_EQ(ErrorReason(part->Commit()), "PART_CHANGED");
  part.reset();
  EXPECT_EQ(folder_.Read(PartName(kTag)), "xyz");
  EXPECT_FALSE(folder_.Has("file"));
}

TEST_F(PartFileTest, CommitRemovesPartsThatGoOnNoMore) {
  folder_.Write(PartName("00000000000000ff"), "left");
  folder_.Write(".file.other.wdelta-part", "of file.other");
  PartFile other = *Resume(kOtherTag);
  ASSERT_TRUE(other.Append("xyz").ok());
  PartFile part = *Resume();
  ASSERT_TRUE(part.Append("abc").ok());
  ASSERT_TRUE(part.Commit().ok());
  EXPECT_FALSE(folder_.Has(PartName("00000000000000ff")));
  EXPECT_TRUE(folder_.Has(".file.other.wdelta-part"));
  EXPECT_TRUE(folder_.Has(PartName(kOtherTag))) << "a part in use was removed";
  ASSERT_TRUE(other.Commit().ok());
  EXPECT_EQ(folder_.Read("file"), "xyz");
}

// Any number may come and go: what gets the name is whole.
TEST_F(PartFileTest, ManyAtOnceNeverMixTheirBytes) {
  constexpr size_t kContentBytes = 60;
  std::string content;
  for (size_t i = 0; i < kContentBytes; ++i) content += static_cast<char>('0' + i);
  std::vector<std::string> wrong(4);
  std::vector<std::thread> threads;
  for (std::string& problem : wrong) {
    threads.emplace_back([&] {
      for (int round = 0; round < 200 && problem.empty(); ++round) {
        absl::StatusOr<PartFile> part = Resume();
        if (absl::IsAborted(part.status())) continue;
        if (!part.ok()) problem = part.status().ToString();
        if (!part.ok()) return;
        part->KeepUnfinished();
        for (size_t at = part->resumed_bytes(); at < content.size(); ++at) {
          if (!part->Append(content.substr(at, 1)).ok()) problem = "append";
        }
        // Every other one dies before the end.
        if (round % 2 == 0) continue;
        const absl::Status committed = part->Commit();
        if (!committed.ok()) problem = committed.ToString();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& problem : wrong) EXPECT_EQ(problem, "");
  if (!folder_.Has("file")) {
    PartFile part = *Resume();
    ASSERT_TRUE(part.Append(content.substr(part.resumed_bytes())).ok());
    ASSERT_TRUE(part.Commit().ok());
  }
  EXPECT_EQ(folder_.Read("file"), content);
}

TEST_F(PartFileTest, ALinkLeavesThePartsOfOthersAlone) {
  folder_.Write("old", "abc");
  folder_.Write("file", "earlier");
  PartFile untagged = *PartFile::Create(Destination());
  ASSERT_TRUE(untagged.Append("xyz").ok());
  EXPECT_TRUE(LinkInPlace(folder_ / "old", Destination()));
  EXPECT_TRUE(std::filesystem::equivalent(folder_ / "old", Destination()));
  EXPECT_TRUE(LinkInPlace(folder_ / "old", Destination())) << "again";
  EXPECT_FALSE(LinkInPlace(folder_ / "nothing", Destination()));
  ASSERT_TRUE(untagged.Commit().ok());
  EXPECT_EQ(folder_.Read("file"), "xyz");
  EXPECT_EQ(folder_.Read("old"), "abc");
  EXPECT_EQ(folder_.EntryCount(), 2u);
}

}  // namespace
}  // namespace wdelta

// The mark beside a database: torn, damaged, absent, lowered.
#include "storage/blobs/high_water_mark.h"

#include <algorithm>
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

constexpr char kFile[] = "HIGH_WATER";
constexpr size_t kSecondSlot = 4096;

class HighWaterMarkTest : public ::testing::Test {
 protected:
  // Leaves the file with these numbers written one after the other.
  void WriteNumbers(const std::vector<uint64_t>& numbers) const {
    const auto mark = HighWaterMark::Open(folder_.path(), numbers.front());
    ASSERT_TRUE(mark.ok()) << mark.status();
    for (const uint64_t number : numbers) ASSERT_TRUE((*mark)->Raise(number).ok());
  }

  std::optional<uint64_t> Recorded() const {
    const auto recorded = HighWaterMark::Read(folder_.path());
    EXPECT_TRUE(recorded.ok()) << recorded.status();
    return recorded.ok() ? *recorded : std::nullopt;
  }

  const TempFolder folder_;
};

TEST_F(HighWaterMarkTest, RemembersTheLargestNumber) {
  EXPECT_EQ(Recorded(), std::nullopt);
  WriteNumbers({0});
  EXPECT_EQ(Recorded(), 0u);
  WriteNumbers({1, 2, 7, 3, 7});
  EXPECT_EQ(Recorded(), 7u);
  WriteNumbers({UINT64_MAX});
  EXPECT_EQ(Recorded(), UINT64_MAX);
  EXPECT_EQ(folder_.EntryCount(), 1u) << "temporary files stay";
}

TEST_F(HighWaterMarkTest, IsReadWhileItIsRaised) {
  const auto mark = *HighWaterMark::Open(folder_.path(), 0);
  for (uint64_t number = 1; number <= 5; ++number) {
    ASSERT_TRUE(mark->Raise(number).ok());
    EXPECT_EQ(Recorded(), number) << "what was raised must outlive the process";
    EXPECT_EQ(mark->number(), number);
  }
}

TEST_F(HighWaterMarkTest, ALowerNumberReplacesTheFile) {
  WriteNumbers({10, 11, 12});
  WriteNumbers({5});
  EXPECT_EQ(Recorded(), 5u);
  WriteNumbers({5, 6});
  EXPECT_EQ(Recorded(), 6u);
}

// Whatever byte is damaged: the number before is still there.
TEST_F(HighWaterMarkTest, OneDamagedSlotLeavesTheOther) {
  WriteNumbers({8, 9});
  const std::string whole = folder_.Read(kFile);
  for (size_t at = 0; at < whole.size(); at = at == 40 ? kSecondSlot : at + 1) {
    SCOPED_TRACE(at);
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    folder_.Write(kFile, damaged);
    const std::optional<uint64_t> recorded = Recorded();
    EXPECT_TRUE(recorded == 8u || recorded == 9u);
    // It goes on in the damaged slot.
    WriteNumbers({10});
    EXPECT_EQ(Recorded(), 10u);
    WriteNumbers({11});
    EXPECT_EQ(Recorded(), 11u);
  }
}

TEST_F(HighWaterMarkTest, ATornWriteLeavesTheOther) {
  WriteNumbers({8, 9});
  const std::string before = folder_.Read(kFile);
  WriteNumbers({10});
  const std::string after = folder_.Read(kFile);
  ASSERT_EQ(after.size(), before.size());
  const auto changed = std::mismatch(before.begin(), before.end(), after.begin());
  const auto begin = static_cast<size_t>(changed.first - before.begin());
  for (size_t written = 0; written < 20; ++written) {
    const size_t end = begin + written;
    folder_.Write(kFile, after.substr(0, end) + before.substr(end));
    const std::optional<uint64_t> recorded = Recorded();
    EXPECT_TRUE(recorded == 9u || recorded == 10u) << written;
  }
}

TEST_F(HighWaterMarkTest, TellsWhenNothingIsWhole) {
  for (const std::string& content : {std::string(), std::string(3, 'w'), std::string(5000, '\0')}) {
    folder_.Write(kFile, content);
    const auto recorded = HighWaterMark::Read(folder_.path());
    EXPECT_TRUE(absl::IsDataLoss(recorded.status())) << recorded.status();
    EXPECT_EQ(ErrorReason(recorded.status()), "HIGH_WATER_DAMAGED");
    EXPECT_THAT(std::string(recorded.status().message()), ::testing::HasSubstr(folder_ / kFile));
    WriteNumbers({4});
    EXPECT_EQ(Recorded(), 4u);
  }
}

TEST_F(HighWaterMarkTest, ManyThreadsRaiseIt) {
  constexpr uint64_t kThreads = 4;
  constexpr uint64_t kRaises = 500;
  const auto mark = *HighWaterMark::Open(folder_.path(), 0);
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (uint64_t n = 0; n < kRaises; ++n) EXPECT_TRUE(mark->Raise(n * kThreads + i).ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Recorded(), kThreads * kRaises - 1);
}

TEST_F(HighWaterMarkTest, AFolderThatIsNotThereIsAnError) {
  const std::string missing = folder_ / "missing";
  EXPECT_FALSE(HighWaterMark::Open(missing, 1).ok());
  EXPECT_EQ(*HighWaterMark::Read(missing), std::nullopt);
}

}  // namespace
}  // namespace wdelta

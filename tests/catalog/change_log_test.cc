#include "storage/catalog/change_log.h"

#include "gtest/gtest.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

std::vector<Change> OneChange(uint64_t revision, size_t value_bytes = 0) {
  return {Change{"key", std::string(value_bytes, 'x'), revision}};
}

TEST(ChangeLog, KnowsNothingOfChangesBeforeItsStart) {
  ChangeLog log(7);
  const auto before = log.Watch("", 6);
  EXPECT_TRUE(absl::IsOutOfRange(before.status()));
  EXPECT_EQ(ErrorReason(before.status()), "CHANGES_NOT_KEPT");
  EXPECT_TRUE(log.Watch("", 7).ok());
}

TEST(ChangeLog, KeepsABoundedNumber) {
  ChangeLog log(0, {.max_changes = 3});
  for (uint64_t revision = 1; revision <= 5; ++revision) log.Append(OneChange(revision), revision);
  EXPECT_TRUE(absl::IsOutOfRange(log.Watch("", 1).status()));
  const auto watcher = log.Watch("", 2);
  ASSERT_TRUE(watcher.ok()) << watcher.status();
  const auto changes = (*watcher)->Next(absl::InfinitePast());
  ASSERT_TRUE(changes.ok()) << changes.status();
  ASSERT_EQ(changes->size(), 3u);
  EXPECT_EQ(changes->front().revision, 3u);
}

TEST(ChangeLog, KeepsBoundedBytes) {
  ChangeLog log(0, {.max_bytes = 10'000});
  for (uint64_t revision = 1; revision <= 5; ++revision) {
    log.Append(OneChange(revision, 3'000), revision);
  }
  EXPECT_TRUE(absl::IsOutOfRange(log.Watch("", 1).status()));
  EXPECT_TRUE(log.Watch("", 2).ok());
  log.Append(OneChange(6, 20'000), 6);
  EXPECT_TRUE(absl::IsOutOfRange(log.Watch("", 5).status()));
  EXPECT_TRUE(log.Watch("", 6).ok());
}

// Half of a commit is no answer.
TEST(ChangeLog, DropsWholeCommits) {
  ChangeLog log(0, {.max_changes = 2});
  log.Append({{"a", "1", 1}, {"b", "1", 1}, {"c", "1", 1}}, 1);
  EXPECT_TRUE(absl::IsOutOfRange(log.Watch("", 0).status()));
}

}  // namespace
}  // namespace wdelta

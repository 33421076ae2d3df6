// Tags and their history.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/records.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

using store::v1::TagChangeRecord;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class TagsTest : public EngineTest {
 protected:
  TagsTest() {
    for (const char* name : {"a", "b"}) {
      const TestFiles files = SmallCheckpoint(1);
      EXPECT_TRUE(Upload(name, Files(files.begin(), files.end())).ok());
    }
    RunJobs();
  }
  void Set(const std::string& model) {
    clock_.Advance(absl::Seconds(1));
    const absl::StatusOr<Tag> tag = store_->models().SetTag("ns/m", "prod", model);
    EXPECT_TRUE(tag.ok()) << tag.status();
  }
  // `from>to REASON`, the latest first, in pages of `limit`.
  std::vector<std::string> History(uint32_t limit = 100) {
    std::vector<std::string> lines;
    int64_t time_us = INT64_MAX;
    uint64_t after = 0;
    while (true) {
      const absl::StatusOr<std::vector<TagChange>> changes =
          store_->models().TagHistory("ns/m", "prod", after, limit);
      if (!changes.ok()) return {ErrorReason(changes.status())};
      for (const TagChange& change : *changes) {
        const TagChangeRecord& record = change.record;
        lines.push_back(record.from_name() + ">" + record.to_name() + " " +
                        TagChangeRecord::Reason_Name(record.reason()));
        EXPECT_LT(record.time_us(), time_us);
        time_us = record.time_us();
      }
      if (changes->empty() || changes->back().number == 1) return lines;
      after = changes->back().number;
    }
  }
};

TEST_F(TagsTest, HistoryTellsWhoPointedWhere) {
  EXPECT_THAT(History(), ElementsAre("TAG_NOT_FOUND"));
  Set("a");
  Set("b");
  Set("b");  // changes nothing
  Set("a");
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(store_->models().DeleteTag("ns/m", "prod").ok());
  Set("b");
  const std::vector<std::string> expected = {">b SET", "a> TAG_DELETED", "b>a SET", "a>b SET",
                                             ">a SET"};
  EXPECT_EQ(History(), expected);
  EXPECT_EQ(History(1), expected);
  EXPECT_EQ(History(2), expected);
  Restart();
  EXPECT_EQ(History(), expected);
}

TEST_F(TagsTest, ATagThatMustBeNewIsNotMoved) {
  const auto make = [this](const std::string& model) {
    return store_->models().SetTag("ns/m", "prod", model, "", /*must_be_new=*/true);
  };
  ASSERT_TRUE(make("a").ok());
  EXPECT_EQ(ErrorReason(make("b").status()), "TAG_EXISTS");
  EXPECT_EQ(ErrorReason(make("a").status()), "TAG_EXISTS");
  EXPECT_THAT(History(), ElementsAre(">a SET"));
  ASSERT_TRUE(store_->models().DeleteTag("ns/m", "prod").ok());
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(make("b").ok());
}

TEST_F(TagsTest, HistoryOutlivesTheModel) {
  Set("a");
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(store_->models().Delete("a").ok());
  RunJobs();
  EXPECT_THAT(History(), ElementsAre("a> MODEL_DELETED", ">a SET"));
  const absl::StatusOr<Page<Tag>> tags = store_->models().ListTags("", "", 10);
  ASSERT_TRUE(tags.ok());
  EXPECT_THAT(tags->items, IsEmpty());
  Set("b");
  EXPECT_EQ(History().front(), ">b SET");
}

TEST_F(TagsTest, HistoryTellsWhoAsked) {
  Models& models = store_->models();
  ASSERT_TRUE(models.SetTag("ns/m", "prod", "a", "ann@host").ok());
  ASSERT_TRUE(models.SetTag("ns/m", "prod", "b").ok());
  ASSERT_TRUE(models.DeleteTag("ns/m", "prod", "bob").ok());
  ASSERT_TRUE(models.SetTag("ns/m", "prod", "b", "J\u00fcrgen M\u00fcller").ok());
  ASSERT_TRUE(models.Delete("b", "cleaner").ok());
  const auto changes = models.TagHistory("ns/m", "prod", 0, 100);
  ASSERT_TRUE(changes.ok()) << changes.status();
  std::vector<std::string> authors;
  for (const TagChange& change : *changes) authors.push_back(change.record.author());
  EXPECT_THAT(authors, ElementsAre("cleaner", "J\u00fcrgen M\u00fcller", "bob", "", "ann@host"));
}

TEST_F(TagsTest, AuthorsAreBounded) {
  Models& models = store_->models();
  EXPECT_TRUE(models.SetTag("ns/m", "prod", "a", std::string(128, 'x')).ok());
  for (const std::string& bad : {std::string(129, 'x'), std::string("a\nb"), std::string(" a"),
                                 std::string("a "), std::string("\xff"), std::string("a\0b", 3)}) {
    EXPECT_EQ(ErrorReason(models.SetTag("ns/m", "prod", "b", bad).status()), "BAD_AUTHOR") << bad;
    EXPECT_EQ(ErrorReason(models.DeleteTag("ns/m", "prod", bad)), "BAD_AUTHOR") << bad;
    EXPECT_EQ(ErrorReason(models.Delete("a", bad)), "BAD_AUTHOR") << bad;
  }
  EXPECT_THAT(History(), ElementsAre(">a SET"));
}

TEST_F(TagsTest, HistoriesOfLikeNamesAreApart) {
  Set("a");
  ASSERT_TRUE(store_->models().SetTag("ns/m", "prod2", "b").ok());
  ASSERT_TRUE(store_->models().SetTag("ns/m2", "prod", "b").ok());
  EXPECT_THAT(History(), ElementsAre(">a SET"));
}

// A commit of another daemon between the reads and the commit of a deletion.
class InterruptedCatalog final : public Catalog {
 public:
  explicit InterruptedCatalog(Catalog* inner) : inner_(*inner) {}
  std::function<void()> interruption;

  absl::StatusOr<std::optional<Record>> Get(absl::string_view key) override {
    return inner_.Get(key);
  }
  absl::StatusOr<ScanPage> Scan(const ScanRequest& request) override {
    return inner_.Scan(request);
  }
  absl::StatusOr<uint64_t> Apply(const Commit& commit) override {
    if (interruption) std::exchange(interruption, nullptr)();
    return inner_.Apply(commit);
  }
  absl::StatusOr<uint64_t> CurrentRevision() override { return inner_.CurrentRevision(); }
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(std::string prefix, uint64_t after) override {
    return inner_.Watch(std::move(prefix), after);
  }

 private:
  Catalog& inner_;
};

TEST_F(TagsTest, ATagThatMovesDuringADeletionIsNotLost) {
  Set("a");
  InterruptedCatalog catalog(&catalog_);
  Models other(&catalog, &store_->jobs(), &clock_);
  catalog.interruption = [this] { Set("b"); };
  ASSERT_TRUE(other.Delete("a").ok());
  EXPECT_TRUE(store_->models().Resolve("ns/m@prod").ok());
  EXPECT_THAT(History(), ElementsAre("a>b SET", ">a SET"));
}

TEST_F(TagsTest, ATagThatComesDuringADeletionGoesWithTheModel) {
  InterruptedCatalog catalog(&catalog_);
  Models other(&catalog, &store_->jobs(), &clock_);
  catalog.interruption = [this] {
    Set("a");
    clock_.Advance(absl::Seconds(1));
  };
  ASSERT_TRUE(other.Delete("a").ok());
  EXPECT_THAT(History(), ElementsAre("a> MODEL_DELETED", ">a SET"));
  EXPECT_FALSE(catalog_.Get(keys::Tag("ns/m", "prod")).value().has_value());
}

}  // namespace
}  // namespace wdelta::testing

#include "server/http/model_card.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"

namespace wdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(ModelCard, OneBase) {
  EXPECT_THAT(BaseModelsOf("---\nbase_model: a/b\n---\n# Title\n"), ElementsAre("a/b"));
  EXPECT_THAT(BaseModelsOf("---\r\nlicense: mit\r\nbase_model: \"a/b\"  # of\r\n---\r\n"),
              ElementsAre("a/b"));
  EXPECT_THAT(BaseModelsOf("---\nbase_model: 'a'\n"), ElementsAre("a"));
}

TEST(ModelCard, Lists) {
  EXPECT_THAT(BaseModelsOf("---\nbase_model:\n- a/b\n- 'c'\ntags:\n- d\n---\n"),
              ElementsAre("a/b", "c"));
  EXPECT_THAT(BaseModelsOf("---\nbase_model:\n  # two\n  - a\n\n  - b # last\n---\n"),
              ElementsAre("a", "b"));
  EXPECT_THAT(BaseModelsOf("---\nbase_model: [a/b, \"c\"]\n---\n"), ElementsAre("a/b", "c"));
}

TEST(ModelCard, OtherTextGivesNone) {
  for (const char* const card :
       {"", "# Title", "base_model: a", "\n---\nbase_model: a\n---\n", "---\n---\nbase_model: a\n",
        "---\nbase_model:\n---\n- a\n", "---\nbase_model_relation: merge\n---\n",
        "---\nother:\n  base_model: a\n---\n", "---\nbase_model: [a\n---\n"}) {
    EXPECT_THAT(BaseModelsOf(card), IsEmpty()) << card;
  }
}

TEST(ModelCard, ListsAreBounded) {
  std::string card = "---\nbase_model:\n";
  for (int i = 0; i < 10'000; ++i) absl::StrAppend(&card, "- m", i, "\n");
  EXPECT_EQ(BaseModelsOf(card).size(), limits::kMaxParents);
}

}  // namespace
}  // namespace wdelta

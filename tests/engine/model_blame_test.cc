#include "storage/engine/compare/model_blame.h"

#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

class ModelBlameTest : public EngineTest {
 protected:
  // Uploads and stores; tensors by name.
  void Store(const std::string& name, const std::vector<TestTensor>& tensors,
             const std::vector<std::string>& parents = {}) {
    const auto uploaded = Upload(name, {{"model.safetensors", BuildSafetensors(tensors)}}, parents);
    ASSERT_TRUE(uploaded.ok()) << uploaded.status();
    RunJobs();
  }

  ModelBlame Blame(const std::string& model) {
    const auto blame =
        BlameTensors(store_->models(), store_->reader(), *store_->models().Resolve(model), alive_);
    EXPECT_TRUE(blame.ok()) << blame.status();
    return blame.value_or(ModelBlame());
  }

  // Name of every tensor to that of the model it comes from, `(name there)` and `?` added.
  std::map<std::string, std::string> Origins(const std::string& model) {
    const ModelBlame blame = Blame(model);
    std::map<std::string, std::string> origins;
    for (const TensorBlame& tensor : blame.tensors) {
      std::string& text = origins[tensor.tensor.name];
      text = blame.origins[tensor.origin].name;
      if (!tensor.name_there.empty()) absl::StrAppend(&text, "(", tensor.name_there, ")");
      if (tensor.lost_parent.has_value()) absl::StrAppend(&text, "?");
    }
    return origins;
  }

  using Expected = std::map<std::string, std::string>;
  const std::function<absl::Status()> alive_ = [] { return absl::OkStatus(); };
};

TEST_F(ModelBlameTest, FollowsTheFirstParentThatHasTheTensor) {
  const TestTensor a = RandomWeights("a", {64, 8}, 1);
  const TestTensor b = RandomWeights("b", {64, 8}, 2);
  const TestTensor c = RandomWeights("c", {64, 8}, 3);
  const TestTensor d = RandomWeights("d", {0, 8}, 4);
  const TestTensor b2 = FineTuned(b, 10);
  const TestTensor c2 = FineTuned(c, 11);
  Store("base", {a, b, c, d});
  Store("left", {a, b2, c, d}, {"base"});
  Store("right", {a, b, c2, d}, {"base"});
  Store("merge", {a, b2, c2, d, RandomWeights("new", {4}, 5)}, {"left", "right"});
  EXPECT_EQ(Origins("base"),
            (Expected{{"a", "base"}, {"b", "base"}, {"c", "base"}, {"d", "base"}}));
  EXPECT_EQ(
      Origins("merge"),
      (Expected{{"a", "base"}, {"b", "left"}, {"c", "right"}, {"d", "base"}, {"new", "merge"}}));
  const ModelBlame blame = Blame("merge");
  ASSERT_EQ(blame.origins.size(), 4u);
  uint64_t size_bytes = 0;
  for (size_t i = 0; i < blame.origins.size(); ++i) {
    if (i > 0) {
      EXPECT_LE(blame.origins[i].size_bytes, blame.origins[i - 1].size_bytes);
    }
    size_bytes += blame.origins[i].size_bytes;
  }
  EXPECT_EQ(blame.origins.back().name, "merge");
  EXPECT_EQ(size_bytes, 3 * 1024 + 8u);
}

// What was changed and changed back comes from the model that changed it back.
TEST_F(ModelBlameTest, ATensorThatWasChangedBackCameBackThere) {
  const TestTensor a = RandomWeights("a", {64, 8}, 1);
  Store("base", {a});
  Store("changed", {FineTuned(a, 7)}, {"base"});
  Store("back", {a}, {"changed"});
  Store("copy", {a}, {"back"});
  EXPECT_EQ(Origins("copy"), (Expected{{"a", "back"}}));
}

TEST_F(ModelBlameTest, FollowsRenamedTensorsThatAreThereOnce) {
  TestTensor moved = RandomWeights("old.name", {64, 8}, 1);
  TestTensor zeros1 = RandomWeights("z1", {16}, 2);
  zeros1.data.assign(zeros1.data.size(), '\0');
  TestTensor zeros2 = zeros1;
  zeros2.name = "z2";
  Store("base", {moved, zeros1, zeros2});
  moved.name = "new.name";
  TestTensor zeros3 = zeros1;
  zeros3.name = "z3";
  Store("renamed", {moved, zeros1, zeros3}, {"base"});
  Store("child", {moved, zeros1, zeros3}, {"renamed"});
  EXPECT_EQ(Origins("child"),
            (Expected{{"new.name", "base(old.name)"}, {"z1", "base"}, {"z3", "renamed"}}));
  // The same bytes in another shape are another tensor.
  moved.shape = {8, 64};
  Store("reshaped", {moved}, {"child"});
  EXPECT_EQ(Origins("reshaped"), (Expected{{"new.name", "reshaped"}}));
}

// One parent has the tensor under its own name, an earlier one under another.
TEST_F(ModelBlameTest, TheSameNameCountsMoreThanAnEarlierParent) {
  TestTensor a = RandomWeights("a", {64, 8}, 1);
  TestTensor other = a;
  other.name = "other";
  Store("first", {other});
  Store("second", {a});
  Store("child", {a}, {"first", "second"});
  EXPECT_EQ(Origins("child"), (Expected{{"a", "second"}}));
}

TEST_F(ModelBlameTest, SaysWhereTheTrailEnds) {
  const TestTensor a = RandomWeights("a", {64, 8}, 1);
  const TestTensor b = RandomWeights("b", {64, 8}, 2);
  Store("base", {a, b});
  Store("middle", {a, FineTuned(b, 9)}, {"base"});
  Store("tip", {a, FineTuned(b, 9)}, {"middle"});
  ASSERT_TRUE(store_->models().Delete("base").ok());
  RunJobs();
  EXPECT_EQ(Origins("tip"), (Expected{{"a", "middle?"}, {"b", "middle?"}}));
  const ModelBlame blame = Blame("tip");
  ASSERT_EQ(blame.lost_parents.size(), 1u);
  EXPECT_EQ(blame.lost_parents[0].name, "base");
  EXPECT_EQ(blame.lost_parents[0].reason, LostParent::Reason::kDeleted);

  const auto staged = Upload("staged", {{"m.safetensors", BuildSafetensors({a})}});
  ASSERT_TRUE(staged.ok());
  ASSERT_TRUE(store_->jobs().RequestCancel(staged->job_id).ok());
  Store("child", {a}, {"staged"});
  EXPECT_EQ(Origins("child"), (Expected{{"a", "child?"}}));
  EXPECT_EQ(Blame("child").lost_parents[0].reason, LostParent::Reason::kNotReady);
  // Another parent that has it settles the matter.
  Store("settled", {a}, {"staged", "tip"});
  EXPECT_EQ(Origins("settled"), (Expected{{"a", "middle?"}}));
  const auto of_staged =
      BlameTensors(store_->models(), store_->reader(), *store_->models().Resolve("staged"), alive_);
  EXPECT_EQ(ErrorReason(of_staged.status()), "MODEL_NOT_READY");
}

TEST_F(ModelBlameTest, GoesOnThroughADeletedParent) {
  const TestTensor a = RandomWeights("a", {64, 8}, 1);
  const TestTensor b = RandomWeights("b", {64, 8}, 2);
  const TestTensor c = RandomWeights("c", {64, 8}, 3);
  const TestTensor b2 = FineTuned(b, 9);
  Store("root", {a, b, c});
  Store("base", {a, b, c}, {"root"});
  Store("middle1", {a, b2, c}, {"base"});
  Store("middle2", {a, b2, c}, {"middle1"});
  Store("tip", {a, b2, FineTuned(c, 10)}, {"middle2"});
  for (const char* name : {"middle1", "middle2"}) {
    ASSERT_TRUE(store_->models().Delete(name).ok());
    RunJobs();
  }
  // `b` may be of either of those that are gone, and `c` of the tip only if they had it so.
  EXPECT_EQ(Origins("tip"), (Expected{{"a", "root"}, {"b", "tip?"}, {"c", "tip?"}}));
  const ModelBlame blame = Blame("tip");
  ASSERT_EQ(blame.lost_parents.size(), 1u);
  EXPECT_EQ(blame.lost_parents[0].name, "middle2");
  EXPECT_EQ(blame.lost_parents[0].reason, LostParent::Reason::kDeleted);
  // Through renamed tensors too.
  TestTensor renamed = a;
  renamed.name = "x";
  Store("gone", {renamed}, {"root"});
  Store("child", {renamed}, {"gone"});
  ASSERT_TRUE(store_->models().Delete("gone").ok());
  RunJobs();
  EXPECT_EQ(Origins("child"), (Expected{{"x", "root(a)"}}));
}

// The parents of a deleted one stand in its place among its brothers.
TEST_F(ModelBlameTest, ADeletedParentKeepsItsPlace) {
  const TestTensor a = RandomWeights("a", {64, 8}, 1);
  Store("old", {a});
  Store("first", {a}, {"old"});
  Store("second", {a});
  Store("merge", {a}, {"first", "second"});
  EXPECT_EQ(Origins("merge"), (Expected{{"a", "old"}}));
  ASSERT_TRUE(store_->models().Delete("first").ok());
  RunJobs();
  EXPECT_EQ(Origins("merge"), (Expected{{"a", "old"}}));
  ASSERT_TRUE(store_->models().Delete("old").ok());
  RunJobs();
  EXPECT_EQ(Origins("merge"), (Expected{{"a", "second"}}));
}

TEST_F(ModelBlameTest, StopsWhenAsked) {
  Store("base", {RandomWeights("a", {8}, 1)});
  Store("child", {RandomWeights("a", {8}, 1)}, {"base"});
  const auto blame =
      BlameTensors(store_->models(), store_->reader(), *store_->models().Resolve("child"),
                   [] { return absl::CancelledError("gone"); });
  EXPECT_TRUE(absl::IsCancelled(blame.status()));
}

// Against a search that follows one tensor at a time.
TEST_F(ModelBlameTest, IsThatOfANaiveSearchInRandomGraphs) {
  const uint32_t seed = 20261127;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  struct Node {
    std::vector<size_t> parents;
    std::map<std::string, uint32_t> contents;  // name to seed of the weights
  };
  std::vector<Node> nodes;
  for (size_t i = 0; i < 25; ++i) {
    Node node;
    for (size_t p = 0; p < i && node.parents.size() < 3; ++p) {
      if (random() % i < 2) node.parents.push_back(p);
    }
    std::vector<TestTensor> tensors;
    for (const char* name : {"a", "b", "c"}) {
      // From a parent, or one of few others, so that contents come back.
      uint32_t content = random() % 6;
      if (!node.parents.empty() && random() % 4 != 0) {
        content = nodes[node.parents[random() % node.parents.size()]].contents.at(name);
      }
      // Of another dimension for each name: nothing is renamed.
      node.contents[name] = content;
      tensors.push_back(RandomWeights(name, {16, uint64_t(name[0])}, content));
    }
    std::vector<std::string> parents;
    for (const size_t p : node.parents) parents.push_back(absl::StrCat("m", p));
    nodes.push_back(node);
    Store(absl::StrCat("m", i), tensors, parents);
  }
  for (size_t i = 0; i < nodes.size(); ++i) {
    Expected expected;
    for (const auto& [name, content] : nodes[i].contents) {
      size_t at = i;
      for (bool moved = true; moved;) {
        moved = false;
        for (const size_t p : nodes[at].parents) {
          if (nodes[p].contents.at(name) != content) continue;
          at = p;
          moved = true;
          break;
        }
      }
      expected[name] = absl::StrCat("m", at);
    }
    EXPECT_EQ(Origins(absl::StrCat("m", i)), expected) << i;
  }
}

}  // namespace
}  // namespace wdelta::testing

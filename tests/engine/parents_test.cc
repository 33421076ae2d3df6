// Declared parents: how they are named, what their edges keep, what is refused.
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/lineage/lineage.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

using store::v1::ModelRecord;
using store::v1::ParentEdge;
using ::testing::ElementsAre;

Files FilesOf(uint32_t seed) {
  const TestFiles files = SmallCheckpoint(1, seed);
  return {files.begin(), files.end()};
}

class ParentsTest : public EngineTest {
 protected:
  ModelRecord Push(StartUploadParams params, uint32_t seed = 1) {
    const absl::StatusOr<FinishedUpload> finished = Upload(std::move(params), FilesOf(seed));
    EXPECT_TRUE(finished.ok()) << finished.status();
    return finished.ok() ? finished->model.record : ModelRecord();
  }
  ModelRecord Push(const std::string& name, std::vector<ParentReference> parents = {},
                   uint32_t seed = 1) {
    StartUploadParams params;
    params.name = name;
    params.parents = std::move(parents);
    return Push(std::move(params), seed);
  }
  std::string ReasonFor(std::vector<ParentReference> parents) {
    StartUploadParams params;
    params.name = "refused";
    params.parents = std::move(parents);
    return ErrorReason(store_->uploads().Start(params).status());
  }
};

TEST_F(ParentsTest, ByNameTagDigestAndId) {
  const ModelRecord base = Push("ns/base", {}, 0);
  ASSERT_TRUE(store_->models().SetTag("ns/base", "v1", "ns/base").ok());
  const std::string digest = absl::BytesToHexString(base.digest());
  int count = 0;
  for (const std::string& reference :
       {std::string("ns/base"), std::string("ns/base@v1"), absl::StrCat("sha256:", digest),
        absl::StrCat("sha256:", digest.substr(0, 8)), absl::StrCat("id:", base.id())}) {
    const ModelRecord made = Push(absl::StrCat("m", ++count), {{reference, {}, {}}});
    ASSERT_EQ(made.parents_size(), 1) << reference;
    EXPECT_EQ(made.parents(0).model_id(), base.id());
    EXPECT_EQ(made.parents(0).name(), "ns/base");
    EXPECT_EQ(made.parents(0).relation(), ParentEdge::FINE_TUNE);
  }
}

TEST_F(ParentsTest, EdgesKeepRelationAndMetadata) {
  Push("base", {}, 0);
  Push("other", {}, 2);
  for (const auto relation :
       {ParentEdge::FINE_TUNE, ParentEdge::MERGE, ParentEdge::QUANTIZATION,
        ParentEdge::DISTILLATION, ParentEdge::CONTINUED_TRAINING, ParentEdge::OTHER}) {
    const ModelRecord made = Push(absl::StrCat("m", static_cast<int>(relation)),
                                  {{"base", relation, {{"weight", "0.5"}}}, {"other", {}, {}}});
    ASSERT_EQ(made.parents_size(), 2);
    EXPECT_EQ(made.parents(0).relation(), relation);
    EXPECT_EQ(made.parents(0).metadata().at("weight"), "0.5");
    EXPECT_EQ(made.parents(1).relation(), ParentEdge::MERGE);
  }
  RunJobs();
  Restart();
  EXPECT_EQ(RecordOf("m4").parents(0).metadata().at("weight"), "0.5");
}

TEST_F(ParentsTest, RefusesWhatIsNoParent) {
  Push("base");
  Push("gone", {}, 2);
  ASSERT_TRUE(store_->models().Delete("gone").ok());
  EXPECT_EQ(ReasonFor({{"nobody", {}, {}}}), "MODEL_NOT_FOUND");
  EXPECT_EQ(ReasonFor({{"base@nobody", {}, {}}}), "MODEL_NOT_FOUND");
  EXPECT_EQ(ReasonFor({{"gone", {}, {}}}), "MODEL_NOT_FOUND");
  EXPECT_EQ(ReasonFor({{"sha256:0123456789", {}, {}}}), "MODEL_NOT_FOUND");
  EXPECT_EQ(ReasonFor({{"a b", {}, {}}}), "BAD_NAME");
  EXPECT_EQ(ReasonFor({{"base", {}, {}}, {absl::StrCat("id:", RecordOf("base").id()), {}, {}}}),
            "PARENT_TWICE");
  EXPECT_EQ(ReasonFor({{"base", {}, {{"", "no key"}}}}), "BAD_METADATA");
  const std::string long_text(limits::kMaxMetadataBytes + 1, 'x');
  EXPECT_EQ(ReasonFor({{"base", {}, {{"key", long_text}}}}), "BAD_METADATA");
  EXPECT_EQ(ReasonFor(std::vector<ParentReference>(limits::kMaxParents + 1, {"base", {}, {}})),
            "TOO_MANY_PARENTS");
}

TEST_F(ParentsTest, RefusesAParentThatGoesDuringTheUpload) {
  Push("base");
  StartUploadParams params;
  params.name = "late";
  params.parents = {{"base", {}, {}}};
  const absl::StatusOr<UploadView> upload = store_->uploads().Start(params);
  ASSERT_TRUE(upload.ok()) << upload.status();
  const std::string& id = upload->record.id();
  ASSERT_TRUE(store_->uploads().AddEntries(id, {{"config.json", 0, ""}}).ok());
  ASSERT_TRUE(store_->models().Delete("base").ok());
  EXPECT_EQ(ErrorReason(store_->uploads().Finish(id, {}).status()), "MODEL_NOT_FOUND");
  EXPECT_EQ(ErrorReason(store_->models().Resolve("late").status()), "MODEL_NOT_FOUND");
}

// A model cannot name itself: its name means the version before, and its id is not known
// until it is there.
TEST_F(ParentsTest, CyclesAreImpossible) {
  std::vector<std::string> ids = {Push("loop").id()};
  for (uint32_t i = 2; i < 6; ++i) {
    StartUploadParams params;
    params.name = "loop";
    params.new_version = true;
    params.parents = {{"loop", {}, {}}};
    const ModelRecord made = Push(std::move(params), i);
    ASSERT_EQ(made.parents_size(), 1);
    EXPECT_EQ(made.parents(0).model_id(), ids.back());
    ids.push_back(made.id());
  }
  std::vector<LineageNode> nodes;
  for (const std::string& id : ids) {
    LineageNode node{id, {}};
    const ModelRecord record = RecordOf(absl::StrCat("id:", id));
    for (const ParentEdge& edge : record.parents()) {
      node.parents.push_back(edge.model_id());
    }
    nodes.push_back(std::move(node));
  }
  EXPECT_TRUE(TopologicalOrder(nodes).ok());
}

}  // namespace
}  // namespace wdelta::testing

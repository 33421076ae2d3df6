#include "client/cli/lineage_text.h"

#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace wdelta {
namespace {

v1::LineageNode Node(
    const std::string& id,
    const std::vector<std::pair<std::string, v1::Parent::Relation>>& parents = {}) {
  v1::LineageNode node;
  node.mutable_model()->set_id(id);
  node.mutable_model()->set_name("name-" + id);
  node.mutable_model()->set_state(v1::Model::STAGED);
  for (const auto& [parent, relation] : parents) {
    v1::Parent* const added = node.mutable_model()->add_parents();
    added->set_model("id:" + parent);
    added->set_relation(relation);
  }
  return node;
}

std::vector<v1::LineageNode> Lineage() {
  std::vector<v1::LineageNode> nodes = {Node("base"), Node("a", {{"base", v1::Parent::FINE_TUNE}}),
                                        Node("soup", {{"a", v1::Parent::MERGE},
                                                      {"base", v1::Parent::MERGE},
                                                      {"elsewhere", v1::Parent::MERGE}})};
  nodes[1].set_deleted(true);
  return nodes;
}

const TagsByModel kTags = {{"soup", {"soup@prod", "best@\"q\""}}};

TEST(LineageText, Dot) {
  EXPECT_EQ(LineageDot(Lineage(), kTags),
            R"text(digraph lineage {
  node [shape=box];
  m0 [label="name-base\nbase"];
  m1 [label="name-a\na\n(deleted)", style=dashed];
  m2 [label="name-soup\nsoup\n[soup@prod, best@\"q\"]"];
  m0 -> m1 [label="fine-tune"];
  m1 -> m2 [label="merge"];
  m0 -> m2 [label="merge"];
}
)text");
}

TEST(LineageText, Mermaid) {
  EXPECT_EQ(LineageMermaid(Lineage(), kTags),
            R"text(flowchart TD
  m0["name-base<br/>base"]
  m1["name-a<br/>a<br/>(deleted)"]
  m2["name-soup<br/>soup<br/>[soup@prod, best@#quot;q#quot;]"]
  m0 -->|fine-tune| m1
  m1 -->|merge| m2
  m0 -->|merge| m2
)text");
}

TEST(LineageText, Drawing) {
  const auto drawing = DrawLineage(Lineage(), kTags, GraphGlyphs::kUnicode);
  ASSERT_TRUE(drawing.ok()) << drawing.status();
  EXPECT_EQ(*drawing,
            "● name-base  base  0 B  staged\n"
            "├─╮\n"
            "│ ● name-a  a  (deleted)\n"
            "├─╯\n"
            "● name-soup  soup  [soup@prod, best@\"q\"]  0 B  staged\n");
}

}  // namespace
}  // namespace wdelta

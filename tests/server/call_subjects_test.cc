#include "server/rpc/call_subjects.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "wdelta/v1/fetch.pb.h"
#include "wdelta/v1/lineage.pb.h"
#include "wdelta/v1/models.pb.h"

namespace wdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(CallSubjects, StringsAreFoundInMessagesAndLists) {
  v1::FetchTensorsRequest request;
  request.set_model("a");
  request.add_further_selections()->set_model("b");
  request.add_further_selections()->set_model("c");
  EXPECT_THAT(StringsAt(request, "model"), ElementsAre("a"));
  EXPECT_THAT(StringsAt(request, "further_selections.model"), ElementsAre("b", "c"));
  EXPECT_THAT(StringsAt(request, "nonsense"), IsEmpty());
  EXPECT_THAT(StringsAt(request, "first_tensor"), IsEmpty());
  EXPECT_THAT(StringsAt(v1::UpdateModelRequest(), "model.id"), IsEmpty());
}

TEST(CallSubjects, ItemsAreKeptInOrder) {
  v1::TraverseResponse response;
  for (const char* name : {"x1", "a1", "a2", "x2", "", "a3"}) {
    response.add_nodes()->mutable_model()->set_name(name);
  }
  response.add_nodes();  // without a model
  std::vector<std::string> seen;
  EXPECT_EQ(KeepItems(response, "nodes", "model.name",
                      [&](absl::string_view name) {
                        seen.emplace_back(name);
                        return name.substr(0, 1) == "a";
                      }),
            4);
  EXPECT_THAT(seen, ElementsAre("x1", "a1", "a2", "x2", "", "a3", ""));
  EXPECT_THAT(StringsAt(response, "nodes.model.name"), ElementsAre("a1", "a2", "a3"));
  EXPECT_EQ(KeepItems(response, "nonsense", "", [](absl::string_view) { return false; }), 0);
}

}  // namespace
}  // namespace wdelta

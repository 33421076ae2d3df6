#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

void Delete(TestServer& server, const std::string& model) {
  v1::DeleteModelRequest request;
  request.set_model(model);
  google::protobuf::Empty nothing;
  grpc::ClientContext context;
  EXPECT_TRUE(server.models->DeleteModel(&context, request, &nothing).ok());
}

std::string TextOf(const v1::LineageNode& node) {
  return absl::StrCat(node.model().name(), node.depth(), node.deleted() ? "deleted" : "");
}

std::vector<std::string> Walk(TestServer& server, v1::TraverseRequest request) {
  std::vector<std::string> nodes;
  do {
    v1::TraverseResponse page;
    grpc::ClientContext context;
    const grpc::Status status = server.lineage->Traverse(&context, request, &page);
    if (!status.ok()) return {CodeAndReason(status)};
    for (const v1::LineageNode& node : page.nodes()) {
      nodes.push_back(TextOf(node));
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return nodes;
}

TEST(LineageService, WalksBothWaysNearestFirstInPages) {
  TestServer server;
  server.Push("base", SmallCheckpoint(1));
  server.Push("a", SmallCheckpoint(1, 2), {"base"});
  server.Push("b", SmallCheckpoint(1, 3), {"base"});
  server.Push("merge", SmallCheckpoint(1, 4), {"a", "b"});
  v1::TraverseRequest request;
  request.set_model("a");
  request.set_page_size(1);
  EXPECT_THAT(Walk(server, request), ElementsAre("INVALID_ARGUMENT BAD_DIRECTION"));
  request.set_direction(v1::TraverseRequest::BOTH);
  EXPECT_THAT(Walk(server, request), ElementsAre("a0", "base1", "merge1"));
  request.set_model("merge");
  request.set_direction(v1::TraverseRequest::ANCESTORS);
  EXPECT_THAT(Walk(server, request), ElementsAre("merge0", "a1", "b1", "base2"));
  request.set_max_depth(1);
  EXPECT_THAT(Walk(server, request), ElementsAre("merge0", "a1", "b1"));
  request.set_max_depth(0);
  request.set_model("base");
  request.set_direction(v1::TraverseRequest::DESCENDANTS);
  EXPECT_THAT(Walk(server, request), ElementsAre("base0", "a1", "b1", "merge2"));

  Delete(server, "a");
  request.set_model("merge");
  request.set_direction(v1::TraverseRequest::ANCESTORS);
  EXPECT_THAT(Walk(server, request), ElementsAre("merge0", "a1deleted", "b1", "base2"));
}

// All pages of a list; `call` is a method of the stub. `between` runs between pages.
template <typename Request, typename Response>
std::vector<std::string> List(TestServer& server,
                              grpc::Status (v1::Lineage::Stub::*call)(grpc::ClientContext*,
                                                                      const Request&, Response*),
                              Request request, const std::function<void()>& between = {}) {
  std::vector<std::string> nodes;
  while (true) {
    Response page;
    grpc::ClientContext context;
    const grpc::Status status = (server.lineage.get()->*call)(&context, request, &page);
    if (!status.ok()) return {CodeAndReason(status)};
    for (const v1::LineageNode& node : page.nodes()) nodes.push_back(TextOf(node));
    if (page.next_page_token().empty()) return nodes;
    request.set_page_token(page.next_page_token());
    if (between) between();
  }
}

// base <- a, b; merge <- a, b; other.
void PushDiamond(TestServer& server) {
  server.Push("base", SmallCheckpoint(1));
  server.Push("a", SmallCheckpoint(1, 2), {"base"});
  server.Push("b", SmallCheckpoint(1, 3), {"base"});
  server.Push("merge", SmallCheckpoint(1, 4), {"a", "b"});
  server.Push("other", SmallCheckpoint(1, 5));
}

TEST(LineageService, RootsLeavesAndChildrenInPages) {
  TestServer server;
  PushDiamond(server);
  v1::ListRootsRequest roots;
  roots.set_page_size(1);
  EXPECT_THAT(List(server, &v1::Lineage::Stub::ListRoots, roots), ElementsAre("base0", "other0"));
  v1::ListLeavesRequest leaves;
  leaves.set_page_size(1);
  EXPECT_THAT(List(server, &v1::Lineage::Stub::ListLeaves, leaves),
              ElementsAre("merge0", "other0"));
  v1::ListChildrenRequest children;
  children.set_model("base");
  children.set_page_size(1);
  EXPECT_THAT(List(server, &v1::Lineage::Stub::ListChildren, children), ElementsAre("a1", "b1"));
  Delete(server, "a");
  Delete(server, "other");
  EXPECT_THAT(List(server, &v1::Lineage::Stub::ListChildren, children),
              ElementsAre("a1deleted", "b1"));
  EXPECT_THAT(List(server, &v1::Lineage::Stub::ListRoots, roots), ElementsAre("base0"));
  children.set_model("merge");
  EXPECT_THAT(List(server, &v1::Lineage::Stub::ListChildren, children), IsEmpty());
  children.set_model("a");
  EXPECT_THAT(List(server, &v1::Lineage::Stub::ListChildren, children),
              ElementsAre("NOT_FOUND MODEL_NOT_FOUND"));
  children.set_page_token("nonsense");
  EXPECT_THAT(List(server, &v1::Lineage::Stub::ListChildren, children),
              ElementsAre("INVALID_ARGUMENT BAD_PAGE_TOKEN"));
}

TEST(LineageService, PagesNeitherRepeatNorSkipWhileModelsAreAdded) {
  TestServer server;
  PushDiamond(server);
  int added = 0;
  const auto add = [&] {
    if (added == 3) return;
    server.Push(absl::StrCat("new", ++added), SmallCheckpoint(1, 9), {"base", "a"});
  };
  v1::ListChildrenRequest children;
  children.set_model("base");
  children.set_page_size(1);
  EXPECT_THAT(List(server, &v1::Lineage::Stub::ListChildren, children, add),
              ElementsAre("a1", "b1", "new11", "new21", "new31"));
  added = 0;
  const auto add_version = [&] {
    if (++added > 3) return;
    v1::StartUploadRequest request;
    request.set_name("a");
    request.set_new_version(true);
    request.add_parents()->set_model("base");
    const std::string upload = server.Open(request, SmallCheckpoint(1, 7));
    ASSERT_TRUE(server.Write(TestServer::PiecesOf(upload, SmallCheckpoint(1, 7))).ok());
    v1::FinishUploadResponse response;
    ASSERT_TRUE(server.Finish(upload, &response).ok());
  };
  v1::TraverseRequest walk;
  walk.set_model("a");  // goes on from the version that it began with
  walk.set_direction(v1::TraverseRequest::BOTH);
  walk.set_page_size(2);
  EXPECT_THAT(List(server, &v1::Lineage::Stub::Traverse, walk, add_version),
              ElementsAre("a0", "base1", "merge1", "new11", "new21", "new31"));
}

// `hop:name` of each step.
std::vector<std::string> Path(TestServer& server, v1::FindPathRequest request,
                              const std::function<void()>& between = {}) {
  std::vector<std::string> steps;
  while (true) {
    v1::FindPathResponse page;
    grpc::ClientContext context;
    const grpc::Status status = server.lineage->FindPath(&context, request, &page);
    if (!status.ok()) return {CodeAndReason(status)};
    for (const v1::PathStep& step : page.steps()) {
      EXPECT_EQ(step.node().depth(), steps.size());
      std::string text = step.node().model().name();
      if (step.hop() == v1::PathStep::TO_PARENT) text.insert(0, "parent:");
      if (step.hop() == v1::PathStep::TO_CHILD) text.insert(0, "child:");
      if (step.edge().relation() == v1::Parent::MERGE) text += " (merge)";
      steps.push_back(text);
    }
    if (page.next_page_token().empty()) {
      EXPECT_EQ(page.edge_count() + 1, steps.size());
      return steps;
    }
    request.set_page_token(page.next_page_token());
    if (between) between();
  }
}

TEST(LineageService, FindsPathsInPages) {
  TestServer server;
  PushDiamond(server);
  v1::FindPathRequest request;
  for (const uint32_t page_size : {1u, 2u, 0u}) {
    request.set_page_size(page_size);
    request.set_edges(v1::FindPathRequest::EDGES_UNSPECIFIED);
    request.set_from("merge");
    request.set_to("base");
    EXPECT_THAT(Path(server, request), ElementsAre("merge", "parent:a (merge)", "parent:base"));
    request.set_from("base");
    request.set_to("merge");
    EXPECT_THAT(Path(server, request), ElementsAre("base", "child:a", "child:merge (merge)"));
    request.set_from("a");
    request.set_to("b");
    EXPECT_THAT(Path(server, request), ElementsAre("a", "parent:base", "child:b"));
    request.set_edges(v1::FindPathRequest::ANCESTRY);
    EXPECT_THAT(Path(server, request), ElementsAre("NOT_FOUND NO_PATH"));
    request.set_to("a");
    EXPECT_THAT(Path(server, request), ElementsAre("a"));
    request.set_to("other");
    request.set_edges(v1::FindPathRequest::ANY);
    EXPECT_THAT(Path(server, request), ElementsAre("NOT_FOUND NO_PATH"));
    request.set_to("nobody");
    EXPECT_THAT(Path(server, request), ElementsAre("NOT_FOUND MODEL_NOT_FOUND"));
  }
  request.set_edges(static_cast<v1::FindPathRequest::Edges>(7));
  EXPECT_THAT(Path(server, request), ElementsAre("INVALID_ARGUMENT BAD_EDGES"));
}

TEST(LineageService, APathStaysWhatItIsBetweenPages) {
  TestServer server;
  server.Push("m0", SmallCheckpoint(1));
  for (int i = 1; i < 5; ++i) {
    server.Push(absl::StrCat("m", i), SmallCheckpoint(1, i), {absl::StrCat("m", i - 1)});
  }
  v1::FindPathRequest request;
  request.set_from("m0");
  request.set_to("m4");
  request.set_edges(v1::FindPathRequest::ANY);
  request.set_page_size(2);
  bool is_added = false;
  const auto add_shortcut = [&] {
    if (!is_added) server.Push("shortcut", SmallCheckpoint(1, 8), {"m0", "m4"});
    is_added = true;
  };
  EXPECT_THAT(Path(server, request, add_shortcut),
              ElementsAre("m0", "child:m1", "child:m2", "child:m3", "child:m4"));
  request.set_page_size(1);
  const auto delete_shortcut = [&] { Delete(server, "shortcut"); };
  EXPECT_THAT(Path(server, request, delete_shortcut), ElementsAre("ABORTED PATH_CHANGED"));
}

std::vector<std::string> Common(TestServer& server, const std::vector<std::string>& models) {
  v1::CommonAncestorsRequest request;
  for (const std::string& model : models) request.add_models(model);
  request.set_page_size(1);
  std::vector<std::string> found;
  do {
    v1::CommonAncestorsResponse page;
    grpc::ClientContext context;
    const grpc::Status status = server.lineage->CommonAncestors(&context, request, &page);
    if (!status.ok()) return {CodeAndReason(status)};
    for (const v1::CommonAncestor& ancestor : page.ancestors()) {
      std::string text = absl::StrCat(TextOf(ancestor.node()), ":");
      for (const uint32_t depth : ancestor.depths()) absl::StrAppend(&text, depth);
      found.push_back(text);
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return found;
}

TEST(LineageService, LowestCommonAncestorsInPages) {
  TestServer server;
  PushDiamond(server);
  server.Push("merge2", SmallCheckpoint(1, 6), {"b", "a"});
  EXPECT_THAT(Common(server, {"a", "b"}), ElementsAre("base1:11"));
  EXPECT_THAT(Common(server, {"merge", "merge2"}), ElementsAre("a1:11", "b1:11"));
  EXPECT_THAT(Common(server, {"merge", "b"}), ElementsAre("b1:10"));
  EXPECT_THAT(Common(server, {"merge", "b", "merge2"}), ElementsAre("b1:101"));
  EXPECT_THAT(Common(server, {"a", "other"}), IsEmpty());
  EXPECT_THAT(Common(server, {"a"}), ElementsAre("INVALID_ARGUMENT BAD_MODEL_COUNT"));
  EXPECT_THAT(Common(server, std::vector<std::string>(17, "a")),
              ElementsAre("INVALID_ARGUMENT BAD_MODEL_COUNT"));
  EXPECT_THAT(Common(server, {"a", "nobody"}), ElementsAre("NOT_FOUND MODEL_NOT_FOUND"));
  Delete(server, "a");
  EXPECT_THAT(Common(server, {"merge", "merge2"}), ElementsAre("a1deleted:11", "b1:11"));
}

}  // namespace
}  // namespace wdelta::testing

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;

TEST(ModelsService, ListsInPages) {
  TestServer server;
  for (const char* name : {"a", "b", "c", "other"}) server.Push(name, SmallCheckpoint(1));
  v1::ListModelsRequest request;
  request.set_page_size(2);
  request.set_name_pattern("?");
  std::vector<std::string> names;
  std::string first_token;
  do {
    v1::ListModelsResponse page;
    grpc::ClientContext context;
    ASSERT_TRUE(server.models->ListModels(&context, request, &page).ok());
    for (const v1::Model& model : page.models()) names.push_back(model.name());
    request.set_page_token(page.next_page_token());
    if (first_token.empty()) first_token = page.next_page_token();
  } while (!request.page_token().empty());
  EXPECT_THAT(names, ElementsAre("a", "b", "c"));

  request.set_page_token(first_token);
  request.set_name_pattern("*");
  v1::ListModelsResponse page;
  grpc::ClientContext context;
  EXPECT_EQ(CodeAndReason(server.models->ListModels(&context, request, &page)),
            "INVALID_ARGUMENT BAD_PAGE_TOKEN");
}

TEST(ModelsService, ListsTensorsInPages) {
  TestServer server;
  server.Push("m", SmallCheckpoint(1));
  v1::ListTensorsRequest request;
  request.set_model("m");
  request.set_page_size(2);
  std::vector<std::string> names;
  do {
    v1::ListTensorsResponse page;
    grpc::ClientContext context;
    ASSERT_TRUE(server.models->ListTensors(&context, request, &page).ok());
    for (const v1::Tensor& tensor : page.tensors()) names.push_back(tensor.name());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(names, ElementsAre("embed.weight", "layers.0.norm.weight", "layers.0.up.weight",
                                 "layers.1.norm.weight", "scale"));
}

TEST(ModelsService, UpdateChecksMaskAndEtag) {
  TestServer server;
  const v1::Model model = server.Push("m", SmallCheckpoint(1));
  v1::UpdateModelRequest request;
  request.mutable_model()->set_id(model.id());
  (*request.mutable_model()->mutable_labels())["k"] = "v";
  const auto update = [&] {
    v1::Model updated;
    grpc::ClientContext context;
    return CodeAndReason(server.models->UpdateModel(&context, request, &updated));
  };
  EXPECT_EQ(update(), "INVALID_ARGUMENT BAD_UPDATE_MASK");
  request.mutable_update_mask()->add_paths("name");
  EXPECT_EQ(update(), "INVALID_ARGUMENT BAD_UPDATE_MASK");
  request.mutable_update_mask()->set_paths(0, "labels");
  request.mutable_model()->set_etag(model.etag());
  EXPECT_EQ(update(), "OK");
  EXPECT_EQ(update(), "ABORTED CONFLICT");
  request.mutable_model()->set_etag("nonsense");
  EXPECT_EQ(update(), "ABORTED CONFLICT");
}

TEST(ModelsService, TagsPointAtModels) {
  TestServer server;
  const v1::Model model = server.Push("m", SmallCheckpoint(1));
  v1::SetTagRequest set;
  set.set_name("m");
  set.set_tag("prod");
  set.set_model("m");
  v1::Tag tag;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(server.models->SetTag(&context, set, &tag).ok());
  }
  EXPECT_EQ(tag.model(), "id:" + model.id());
  v1::GetModelRequest get;
  get.set_model("m@prod");
  v1::Model found;
  grpc::ClientContext context;
  ASSERT_TRUE(server.models->GetModel(&context, get, &found).ok());
  EXPECT_EQ(found.id(), model.id());
  EXPECT_THAT(found.tags(), ElementsAre("m@prod"));
  EXPECT_EQ(found.files_size(), 2);
}

std::vector<std::string> Walk(TestServer& server, v1::TraverseRequest request) {
  std::vector<std::string> nodes;
  do {
    v1::TraverseResponse page;
    grpc::ClientContext context;
    const grpc::Status status = server.lineage->Traverse(&context, request, &page);
    if (!status.ok()) return {CodeAndReason(status)};
    for (const v1::LineageNode& node : page.nodes()) {
      nodes.push_back(node.model().name() + std::to_string(node.depth()) +
                      (node.deleted() ? "deleted" : ""));
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

  v1::DeleteModelRequest remove;
  remove.set_model("a");
  google::protobuf::Empty nothing;
  grpc::ClientContext context;
  ASSERT_TRUE(server.models->DeleteModel(&context, remove, &nothing).ok());
  request.set_model("merge");
  request.set_direction(v1::TraverseRequest::ANCESTORS);
  EXPECT_THAT(Walk(server, request), ElementsAre("merge0", "a1deleted", "b1", "base2"));
}

TEST(AdminService, CountsModels) {
  TestServer server;
  const v1::Model model = server.Push("m", SmallCheckpoint(1));
  v1::ServerInfo info;
  grpc::ClientContext context;
  ASSERT_TRUE(server.admin->GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.model_count(), 1u);
  EXPECT_EQ(info.raw_bytes(), model.raw_bytes());
  EXPECT_GT(info.limits().max_piece_bytes(), 0u);
  EXPECT_THAT(info.capabilities(), ::testing::Contains("lossless"));
}

}  // namespace
}  // namespace wdelta::testing

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

std::vector<std::string> NamesOf(TestServer& server, v1::ListModelsRequest request) {
  std::vector<std::string> names;
  do {
    v1::ListModelsResponse page;
    grpc::ClientContext context;
    const grpc::Status status = server.models->ListModels(&context, request, &page);
    if (!status.ok()) return {CodeAndReason(status)};
    for (const v1::Model& model : page.models()) names.push_back(model.name());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return names;
}

TEST(ModelsService, FiltersOverPages) {
  TestServer server;
  std::vector<v1::Model> models;
  const auto push = [&](const std::string& name, size_t more_bytes) {
    TestFiles files = SmallCheckpoint(1);
    files["notes.txt"] = std::string(more_bytes, 'x');
    models.push_back(server.Push(name, files));
  };
  push("m1", 1);
  push("m2", 2);
  push("m3", 3);
  server.RunJobs();
  push("staged", 4);
  for (const uint32_t page_size : {1u, 2u, 0u}) {
    v1::ListModelsRequest request;
    request.set_page_size(page_size);
    *request.mutable_created_after() = models[1].create_time();
    EXPECT_THAT(NamesOf(server, request), ElementsAre("m2", "m3", "staged"));
    *request.mutable_created_before() = models[3].create_time();
    EXPECT_THAT(NamesOf(server, request), ElementsAre("m2", "m3"));
    request.clear_created_after();
    EXPECT_THAT(NamesOf(server, request), ElementsAre("m1", "m2", "m3"));

    request.Clear();
    request.set_page_size(page_size);
    request.set_min_raw_bytes(models[1].raw_bytes());
    EXPECT_THAT(NamesOf(server, request), ElementsAre("m2", "m3", "staged"));
    request.set_max_raw_bytes(models[2].raw_bytes() - 1);
    EXPECT_THAT(NamesOf(server, request), ElementsAre("m2"));

    request.Clear();
    request.set_page_size(page_size);
    request.set_min_stored_bytes(0);
    EXPECT_THAT(NamesOf(server, request), ElementsAre("m1", "m2", "m3"));
    request.set_max_stored_bytes(0);
    EXPECT_THAT(NamesOf(server, request), ElementsAre());
    request.clear_max_stored_bytes();
    request.clear_min_stored_bytes();
    request.add_states(v1::Model::STAGED);
    EXPECT_THAT(NamesOf(server, request), ElementsAre("staged"));
  }
}

TEST(ModelsService, RefusesFiltersThatMakeNoSense) {
  TestServer server;
  v1::ListModelsRequest request;
  request.mutable_created_after()->set_nanos(-1);
  EXPECT_THAT(NamesOf(server, request), ElementsAre("INVALID_ARGUMENT BAD_TIME"));
  request.Clear();
  request.mutable_created_before()->set_seconds(INT64_MAX);
  EXPECT_THAT(NamesOf(server, request), ElementsAre("INVALID_ARGUMENT BAD_TIME"));
  request.Clear();
  request.set_min_raw_bytes(2);
  request.set_max_raw_bytes(1);
  EXPECT_THAT(NamesOf(server, request), ElementsAre("INVALID_ARGUMENT BAD_RANGE"));
  request.Clear();
  request.set_min_stored_bytes(2);
  request.set_max_stored_bytes(1);
  EXPECT_THAT(NamesOf(server, request), ElementsAre("INVALID_ARGUMENT BAD_RANGE"));
}

TEST(ModelsService, TagHistoryInPages) {
  TestServer server;
  for (const char* name : {"a", "b"}) server.Push(name, SmallCheckpoint(1));
  v1::ListTagHistoryRequest request;
  request.set_name("m");
  request.set_tag("prod");
  request.set_page_size(2);
  const auto history = [&]() -> std::vector<std::string> {
    std::vector<std::string> lines;
    v1::ListTagHistoryRequest next = request;
    do {
      v1::ListTagHistoryResponse page;
      grpc::ClientContext context;
      const grpc::Status status = server.models->ListTagHistory(&context, next, &page);
      if (!status.ok()) return {CodeAndReason(status)};
      for (const v1::TagChange& change : page.changes()) {
        lines.push_back(change.from_name() + ">" + change.to_name() + " " +
                        v1::TagChange::Reason_Name(change.reason()));
        EXPECT_EQ(change.to_model().empty(), change.to_name().empty());
        EXPECT_TRUE(change.has_change_time());
      }
      next.set_page_token(page.next_page_token());
    } while (!next.page_token().empty());
    return lines;
  };
  EXPECT_THAT(history(), ElementsAre("NOT_FOUND TAG_NOT_FOUND"));
  for (const char* model : {"a", "b", "a"}) {
    v1::SetTagRequest set;
    set.set_name("m");
    set.set_tag("prod");
    set.set_model(model);
    v1::Tag tag;
    grpc::ClientContext context;
    ASSERT_TRUE(server.models->SetTag(&context, set, &tag).ok());
  }
  EXPECT_THAT(history(), ElementsAre("b>a SET", "a>b SET", ">a SET"));
  request.set_tag("-");
  EXPECT_THAT(history(), ElementsAre("INVALID_ARGUMENT BAD_TAG"));
}

TEST(ModelsService, TagHistoryTellsWhoAsked) {
  TestServer server;
  server.Push("a", SmallCheckpoint(1));
  v1::SetTagRequest set;
  set.set_name("m");
  set.set_tag("prod");
  set.set_model("a");
  set.set_author("ann@host");
  v1::Tag tag;
  grpc::ClientContext set_context;
  ASSERT_TRUE(server.models->SetTag(&set_context, set, &tag).ok());
  set.set_author("ann\n");
  grpc::ClientContext bad_context;
  EXPECT_EQ(CodeAndReason(server.models->SetTag(&bad_context, set, &tag)),
            "INVALID_ARGUMENT BAD_AUTHOR");
  v1::DeleteTagRequest remove;
  remove.set_name("m");
  remove.set_tag("prod");
  google::protobuf::Empty nothing;
  grpc::ClientContext delete_context;
  ASSERT_TRUE(server.models->DeleteTag(&delete_context, remove, &nothing).ok());
  v1::ListTagHistoryRequest request;
  request.set_name("m");
  request.set_tag("prod");
  v1::ListTagHistoryResponse page;
  grpc::ClientContext list_context;
  ASSERT_TRUE(server.models->ListTagHistory(&list_context, request, &page).ok());
  ASSERT_EQ(page.changes_size(), 2);
  EXPECT_EQ(page.changes(1).author(), "ann@host");
  // Nobody said who: where the call came from.
  EXPECT_FALSE(page.changes(0).author().empty());
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
  EXPECT_GT(info.disk().free_bytes(), 0u);
  EXPECT_EQ(info.disk().min_free_bytes(), limits::kDefaultMinFreeBytes);
  EXPECT_FALSE(info.disk().is_full());
}

}  // namespace
}  // namespace wdelta::testing

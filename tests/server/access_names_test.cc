// Tokens that are for some names.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/rpc/page_token.h"
#include "tests/server/access_fixture.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr char kDenied[] = "PERMISSION_DENIED NAME_NOT_ALLOWED";
constexpr char kNotFound[] = "NOT_FOUND MODEL_NOT_FOUND";

// Two models: `team-a`, made from `base`, which the token is not for.
class AccessNamesTest : public AccessTest {
 protected:
  AccessNamesTest() {
    CallAs("all");
    base_ = server().Push("base", SmallCheckpoint(1));
    own_ = server().Push("team-a", SmallCheckpoint(1, 2), {"base"});
    server().RunJobs();
    SetTag("base", "secret", "base");
    SetTag("team-a", "gift", "base");
    SetTag("team-a", "best", "team-a");
    CallAs("team");
  }

  std::string SetTag(const std::string& name, const std::string& tag, const std::string& model) {
    v1::SetTagRequest request;
    request.set_name(name);
    request.set_tag(tag);
    request.set_model(model);
    v1::Tag made;
    grpc::ClientContext context;
    return CodeAndReason(server().models->SetTag(&context, request, &made));
  }
  static std::vector<std::string> References(const v1::Model& model) {
    return {model.name(), "id:" + model.id()};
  }
  std::string DigestOf(const v1::Model& model) {
    CallAs("all");
    v1::GetModelRequest request;
    request.set_model("id:" + model.id());
    v1::Model found;
    grpc::ClientContext context;
    EXPECT_EQ(CodeAndReason(server().models->GetModel(&context, request, &found)), "OK");
    CallAs("team");
    return found.digest();
  }
  template <typename Stub, typename Request, typename Response>
  std::string Call(Stub& stub,
                   grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                   const Request& request, Response* response = nullptr) {
    Response ignored;
    grpc::ClientContext context;
    return CodeAndReason(
        (stub.*method)(&context, request, response == nullptr ? &ignored : response));
  }
  template <typename Request, typename Response, typename Stub>
  std::string CallOf(Stub& stub,
                     grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                     const std::string& model) {
    Request request;
    request.set_model(model);
    return Call(stub, method, request);
  }
  template <typename Message>
  static std::string Drain(const std::unique_ptr<grpc::ClientReader<Message>>& reader) {
    Message message;
    while (reader->Read(&message)) {
    }
    return CodeAndReason(reader->Finish());
  }
  std::string FetchDelta(const std::string& model, const std::vector<std::string>& held) {
    v1::FetchDeltaRequest request;
    request.set_model(model);
    for (const std::string& each : held) request.add_held_models(each);
    grpc::ClientContext context;
    return Drain(server().fetch->FetchDelta(&context, request));
  }

  v1::Model base_;
  v1::Model own_;
};

TEST_F(AccessNamesTest, OthersModelsAreNotReadByAnyReference) {
  // A name that is not allowed is refused whether there is such a model or not; what is looked
  // up otherwise is not there.
  const std::vector<std::pair<std::string, const char*>> foreign = {{"base", kDenied},
                                                                    {"base@secret", kDenied},
                                                                    {"nonexistent", kDenied},
                                                                    {"id:" + base_.id(), kNotFound},
                                                                    {DigestOf(base_), kNotFound},
                                                                    {"team-a@gift", kNotFound}};
  for (const auto& [model, refused] : foreign) {
    const grpc::Status fetched = server().FetchFile(model, "model.safetensors").status;
    EXPECT_EQ(CodeAndReason(fetched), refused) << model;
    if (refused == kNotFound) {
      EXPECT_EQ(fetched.error_message(), absl::StrCat("no model '", model, "'"));
    }
    EXPECT_EQ(CallOf<v1::GetModelRequest>(*server().models, &v1::Models::Stub::GetModel, model),
              refused)
        << model;
    EXPECT_EQ(
        CallOf<v1::ListTensorsRequest>(*server().models, &v1::Models::Stub::ListTensors, model),
        refused)
        << model;
    v1::FetchTensorsRequest tensors;
    tensors.set_model("team-a");
    tensors.add_further_selections()->set_model(model);
    grpc::ClientContext context;
    EXPECT_EQ(Drain(server().fetch->FetchTensors(&context, tensors)), refused) << model;
    v1::DiffRequest diff;
    diff.set_model_a("team-a");
    diff.set_model_b(model);
    grpc::ClientContext diff_context;
    EXPECT_EQ(Drain(server().compare->Diff(&diff_context, diff)), refused) << model;
  }
  std::vector<std::string> own = References(own_);
  own.push_back(DigestOf(own_));
  own.push_back("team-a@best");
  for (const std::string& model : own) {
    EXPECT_EQ(CodeAndReason(server().FetchFile(model, "model.safetensors").status), "OK") << model;
    EXPECT_EQ(CallOf<v1::GetModelRequest>(*server().models, &v1::Models::Stub::GetModel, model),
              "OK")
        << model;
  }
  EXPECT_EQ(CallOf<v1::GetModelRequest>(*server().models, &v1::Models::Stub::GetModel, "team-none"),
            "NOT_FOUND MODEL_NOT_FOUND");
}

TEST_F(AccessNamesTest, AMadeUpPageTokenLeadsNowhere) {
  v1::ListTensorsRequest request;
  request.set_model("team-a");
  request.set_page_token(EncodePageToken(FiltersOf(request), base_.id() + "/0"));
  EXPECT_EQ(Call(*server().models, &v1::Models::Stub::ListTensors, request), kNotFound);
}

TEST_F(AccessNamesTest, NoMadeUpPageTokenOfAWalkLeadsNorOfAPath) {
  CallAs("all");
  server().Push("team-c", SmallCheckpoint(3), {"base"});
  CallAs("team");
  v1::TraverseRequest walk;
  walk.set_model("team-a");
  walk.set_direction(v1::TraverseRequest::DESCENDANTS);
  walk.set_page_token(EncodePageToken(FiltersOf(walk), base_.id() + "/0/1/" + base_.id()));
  EXPECT_EQ(Call(*server().lineage, &v1::Lineage::Stub::Traverse, walk), kNotFound);
  v1::ListChildrenRequest children;
  children.set_model("team-a");
  children.set_page_token(EncodePageToken(FiltersOf(children), base_.id() + "/0"));
  EXPECT_EQ(Call(*server().lineage, &v1::Lineage::Stub::ListChildren, children), kNotFound);
  v1::FindPathRequest path;
  path.set_from("team-a");
  path.set_to("team-c");
  path.set_page_token(
      EncodePageToken(FiltersOf(path), base_.id() + "/" + own_.id() + "//2/1/" + base_.id()));
  EXPECT_EQ(Call(*server().lineage, &v1::Lineage::Stub::FindPath, path), kNotFound);
}

// Clients can read what a token holds.
TEST_F(AccessNamesTest, PageTokensTellOnlyOfOwnModels) {
  CallAs("all");
  std::vector<std::string> foreign = {base_.id(), "base"};
  for (const char* const name : {"other-1", "other-2"}) {
    foreign.push_back(server().Push(name, SmallCheckpoint(5), {"base"}).id());
    foreign.push_back(name);
  }
  server().Push("team-b", SmallCheckpoint(6), {"base"});
  foreign.push_back(server().Push("other-3", SmallCheckpoint(7), {"base"}).id());
  SetTag("team-b", "t", "team-b");
  SetTag("other-3", "t", "other-3");
  SetTag("a-first", "t", "base");
  server().RunJobs();
  v1::ListJobsResponse all_jobs;
  ASSERT_EQ(Call(*server().jobs, &v1::Jobs::Stub::ListJobs, v1::ListJobsRequest(), &all_jobs),
            "OK");
  for (const v1::Job& job : all_jobs.jobs()) {
    if (job.model_name().substr(0, 5) != "team-") foreign.push_back(job.id());
  }
  CallAs("team");
  // The number of items on all pages of one.
  const auto count = [&](auto& stub, auto method, auto request, auto response, auto items_of) {
    int items = 0;
    request.set_page_size(1);
    do {
      response.Clear();
      EXPECT_EQ(Call(stub, method, request, &response), "OK");
      items += items_of(response);
      const std::string token = response.next_page_token();
      std::string raw;
      EXPECT_TRUE(absl::WebSafeBase64Unescape(token, &raw));
      for (const std::string& text : foreign) {
        EXPECT_EQ(raw.find(text), std::string::npos) << request.GetTypeName() << " " << text;
      }
      request.set_page_token(token);
    } while (!response.next_page_token().empty() && items < 100);
    return items;
  };
  EXPECT_EQ(count(*server().models, &v1::Models::Stub::ListModels, v1::ListModelsRequest(),
                  v1::ListModelsResponse(), [](const auto& out) { return out.models_size(); }),
            2);
  EXPECT_EQ(count(*server().models, &v1::Models::Stub::ListTags, v1::ListTagsRequest(),
                  v1::ListTagsResponse(), [](const auto& out) { return out.tags_size(); }),
            3);
  EXPECT_EQ(count(*server().jobs, &v1::Jobs::Stub::ListJobs, v1::ListJobsRequest(),
                  v1::ListJobsResponse(), [](const auto& out) { return out.jobs_size(); }),
            2);
  EXPECT_EQ(count(*server().lineage, &v1::Lineage::Stub::ListRoots, v1::ListRootsRequest(),
                  v1::ListRootsResponse(), [](const auto& out) { return out.nodes_size(); }),
            0);
  EXPECT_EQ(count(*server().lineage, &v1::Lineage::Stub::ListLeaves, v1::ListLeavesRequest(),
                  v1::ListLeavesResponse(), [](const auto& out) { return out.nodes_size(); }),
            2);
  v1::TraverseRequest walk;
  walk.set_model("team-a");
  walk.set_direction(v1::TraverseRequest::BOTH);
  EXPECT_EQ(count(*server().lineage, &v1::Lineage::Stub::Traverse, walk, v1::TraverseResponse(),
                  [](const auto& out) { return out.nodes_size(); }),
            1);
}

TEST_F(AccessNamesTest, TheHistoryOfATagNamesOnlyOwnModels) {
  SetTag("team-a", "gift", "team-a");
  v1::ListTagHistoryRequest request;
  request.set_name("team-a");
  request.set_tag("gift");
  const auto names = [&] {
    v1::ListTagHistoryResponse response;
    EXPECT_EQ(Call(*server().models, &v1::Models::Stub::ListTagHistory, request, &response), "OK");
    std::vector<std::string> found;
    for (const v1::TagChange& change : response.changes()) {
      found.push_back(change.from_name() + " > " + change.to_name());
    }
    return found;
  };
  EXPECT_THAT(names(), ElementsAre(" > team-a", " > "));
  CallAs("all");
  EXPECT_THAT(names(), ElementsAre("base > team-a", " > base"));
}

TEST_F(AccessNamesTest, ADeltaAgainstAnothersModelIsNotSent) {
  EXPECT_EQ(FetchDelta("team-a", {"base"}), kDenied);
  // As of one that is not there.
  for (const std::string& held : {DigestOf(base_), "id:" + base_.id(), std::string("team-a@gift"),
                                  std::string("team-a@nonexistent")}) {
    EXPECT_EQ(FetchDelta("team-a", {held}), "FAILED_PRECONDITION NO_HELD_MODEL") << held;
  }
  CallAs("all");
  server().Push("team-b", SmallCheckpoint(3), {"team-a"});
  server().RunJobs();
  EXPECT_EQ(FetchDelta("team-b", {"team-a"}), "OK");
  v1::GetModelRequest request;
  request.set_model("team-a");
  v1::Model stored;
  ASSERT_EQ(Call(*server().models, &v1::Models::Stub::GetModel, request, &stored), "OK");
  ASSERT_EQ(stored.storage().parent(), "id:" + base_.id());
  EXPECT_EQ(FetchDelta("team-a", {}), "OK");
  CallAs("team");
  EXPECT_EQ(FetchDelta("team-b", {"team-a"}), "OK");
  EXPECT_EQ(FetchDelta("team-a", {}), kNotFound);
}

TEST_F(AccessNamesTest, ListsShowOnlyOwnModels) {
  v1::ListModelsResponse models;
  ASSERT_EQ(Call(*server().models, &v1::Models::Stub::ListModels, v1::ListModelsRequest(), &models),
            "OK");
  ASSERT_EQ(models.models_size(), 1);
  EXPECT_EQ(models.models(0).name(), "team-a");

  v1::ListTagsResponse tags;
  ASSERT_EQ(Call(*server().models, &v1::Models::Stub::ListTags, v1::ListTagsRequest(), &tags),
            "OK");
  std::vector<std::string> names;
  for (const v1::Tag& tag : tags.tags()) names.push_back(tag.name() + "@" + tag.tag());
  EXPECT_THAT(names, ElementsAre("team-a@best", "team-a@gift"));
  v1::ListTagsRequest of_base;
  of_base.set_name("base");
  EXPECT_EQ(Call(*server().models, &v1::Models::Stub::ListTags, of_base), kDenied);

  v1::ListJobsResponse jobs;
  ASSERT_EQ(Call(*server().jobs, &v1::Jobs::Stub::ListJobs, v1::ListJobsRequest(), &jobs), "OK");
  ASSERT_EQ(jobs.jobs_size(), 1);
  EXPECT_EQ(jobs.jobs(0).model_name(), "team-a");

  v1::ListRootsResponse roots;
  ASSERT_EQ(Call(*server().lineage, &v1::Lineage::Stub::ListRoots, v1::ListRootsRequest(), &roots),
            "OK");
  EXPECT_THAT(roots.nodes(), IsEmpty());
  v1::TraverseRequest walk;
  walk.set_model("team-a");
  walk.set_direction(v1::TraverseRequest::ANCESTORS);
  v1::TraverseResponse walked;
  ASSERT_EQ(Call(*server().lineage, &v1::Lineage::Stub::Traverse, walk, &walked), "OK");
  ASSERT_EQ(walked.nodes_size(), 1);
  EXPECT_EQ(walked.nodes(0).model().name(), "team-a");
}

TEST_F(AccessNamesTest, WhyAModelIsStoredSoIsNotToldOfOthers) {
  EXPECT_EQ(CallOf<v1::ExplainStorageRequest>(*server().models, &v1::Models::Stub::ExplainStorage,
                                              "team-a"),
            kDenied);
}

TEST_F(AccessNamesTest, APathOverAnothersModelIsNotTold) {
  CallAs("all");
  server().Push("team-c", SmallCheckpoint(3), {"base"});
  CallAs("team");
  v1::FindPathRequest request;
  request.set_from("team-a");
  request.set_to("team-c");
  request.set_edges(v1::FindPathRequest::ANY);
  EXPECT_EQ(Call(*server().lineage, &v1::Lineage::Stub::FindPath, request), kDenied);
}

TEST_F(AccessNamesTest, OthersNamesAreNotWritten) {
  EXPECT_EQ(SetTag("base", "t", "team-a"), kDenied);
  EXPECT_EQ(SetTag("team-a", "t", "id:" + base_.id()), kNotFound);
  EXPECT_EQ(SetTag("team-a", "t", "id:" + own_.id()), "OK");
  EXPECT_EQ(CallOf<v1::DeleteModelRequest>(*server().models, &v1::Models::Stub::DeleteModel,
                                           "id:" + base_.id()),
            kNotFound);
  EXPECT_EQ(CallOf<v1::RepackModelRequest>(*server().models, &v1::Models::Stub::RepackModel,
                                           "id:" + base_.id()),
            kNotFound);
  v1::UpdateModelRequest update;
  update.mutable_model()->set_id(base_.id());
  update.mutable_update_mask()->add_paths("labels");
  EXPECT_EQ(Call(*server().models, &v1::Models::Stub::UpdateModel, update), kNotFound);
  v1::MergeModelsRequest merge;
  merge.set_name("team-m");
  merge.mutable_linear();
  merge.add_sources()->set_model("team-a");
  merge.add_sources()->set_model("base");
  EXPECT_EQ(Call(*server().merge, &v1::Merge::Stub::MergeModels, merge), kDenied);
  merge.set_name("other");
  merge.mutable_sources()->RemoveLast();
  EXPECT_EQ(Call(*server().merge, &v1::Merge::Stub::MergeModels, merge), kDenied);
}

TEST_F(AccessNamesTest, UploadsAreOfOwnNames) {
  v1::StartUploadRequest start;
  start.set_name("other");
  EXPECT_EQ(Call(*server().uploads, &v1::Uploads::Stub::StartUpload, start), kDenied);
  // What it was made from may be anybody's.
  server().Push("team-b", SmallCheckpoint(3), {"base"});

  const TestFiles files = SmallCheckpoint(4);
  const char* const kNoUpload = "NOT_FOUND UPLOAD_NOT_FOUND";
  CallAs("all");
  start.set_name("other");
  const std::string upload = server().Open(start, files);
  CallAs("team");
  EXPECT_EQ(CodeAndReason(server().Write(TestServer::PiecesOf(upload, files))), kNoUpload);
  v1::FinishUploadResponse finished;
  EXPECT_EQ(CodeAndReason(server().Finish(upload, &finished)), kNoUpload);
  v1::GetUploadRequest get;
  get.set_upload(upload);
  EXPECT_EQ(Call(*server().uploads, &v1::Uploads::Stub::GetUpload, get), kNoUpload);
  v1::CancelUploadRequest cancel;
  cancel.set_upload(upload);
  EXPECT_EQ(Call(*server().uploads, &v1::Uploads::Stub::CancelUpload, cancel), kNoUpload);
  v1::ListUploadsResponse uploads;
  ASSERT_EQ(
      Call(*server().uploads, &v1::Uploads::Stub::ListUploads, v1::ListUploadsRequest(), &uploads),
      "OK");
  EXPECT_THAT(uploads.uploads(), IsEmpty());
}

TEST_F(AccessNamesTest, JobsAreOfOwnNames) {
  const char* const kNoJob = "NOT_FOUND JOB_NOT_FOUND";
  v1::GetJobRequest request;
  v1::WatchJobRequest watch;
  v1::CancelJobRequest cancel;
  request.set_job(base_.job());
  watch.set_job(base_.job());
  cancel.set_job(base_.job());
  EXPECT_EQ(Call(*server().jobs, &v1::Jobs::Stub::GetJob, request), kNoJob);
  EXPECT_EQ(Call(*server().jobs, &v1::Jobs::Stub::CancelJob, cancel), kNoJob);
  grpc::ClientContext context;
  EXPECT_EQ(Drain(server().jobs->WatchJob(&context, watch)), kNoJob);
  request.set_job(own_.job());
  watch.set_job(own_.job());
  EXPECT_EQ(Call(*server().jobs, &v1::Jobs::Stub::GetJob, request), "OK");
  grpc::ClientContext own_context;
  EXPECT_EQ(Drain(server().jobs->WatchJob(&own_context, watch)), "OK");
}

}  // namespace
}  // namespace wdelta::testing

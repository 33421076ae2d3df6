#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct Plan {
  grpc::Status status;
  std::vector<std::string> freed;
  std::vector<std::string> rewritten;
  std::vector<std::string> kept;
  v1::PlanGcTotals totals;
};

Plan PlanGc(TestServer& server) {
  Plan plan;
  grpc::ClientContext context;
  const auto reader = server.maintenance->PlanGc(&context, v1::PlanGcRequest());
  for (v1::PlanGcResponse item; reader->Read(&item);) {
    EXPECT_FALSE(plan.totals.models_freed() > 0) << "the totals come last";
    if (item.has_freed()) plan.freed.push_back(item.freed().name());
    if (item.has_rewrite()) plan.rewritten.push_back(item.rewrite().name());
    if (item.has_kept()) plan.kept.push_back(item.kept().name());
    if (item.has_totals()) plan.totals = item.totals();
  }
  plan.status = reader->Finish();
  return plan;
}

std::string StartGc(TestServer& server) {
  grpc::ClientContext context;
  v1::StartGcResponse response;
  const grpc::Status status =
      server.maintenance->StartGc(&context, v1::StartGcRequest(), &response);
  EXPECT_EQ(CodeAndReason(status), "OK");
  return response.job();
}

v1::Job GetJob(TestServer& server, const std::string& id) {
  grpc::ClientContext context;
  v1::GetJobRequest request;
  request.set_job(id);
  v1::Job job;
  EXPECT_TRUE(server.jobs->GetJob(&context, request, &job).ok());
  return job;
}

void Delete(TestServer& server, const std::string& model) {
  grpc::ClientContext context;
  v1::DeleteModelRequest request;
  request.set_model(model);
  google::protobuf::Empty response;
  EXPECT_TRUE(server.models->DeleteModel(&context, request, &response).ok());
}

TEST(MaintenanceService, PlansThenDoesAsPlanned) {
  TestServer server;
  const TestFiles one = SmallCheckpoint(1, 2);
  const TestFiles two = SmallCheckpoint(1, 3);
  server.Push("base", SmallCheckpoint(1));
  server.RunJobs();
  server.Push("one", one, {"base"});
  server.Push("two", two, {"base"});
  server.RunJobs();
  const Plan nothing = PlanGc(server);
  EXPECT_TRUE(nothing.status.ok());
  EXPECT_THAT(nothing.freed, IsEmpty());
  Delete(server, "base");
  server.RunJobs();

  const Plan plan = PlanGc(server);
  EXPECT_EQ(CodeAndReason(plan.status), "OK");
  EXPECT_THAT(plan.freed, ElementsAre("base"));
  EXPECT_THAT(plan.rewritten, UnorderedElementsAre("one", "two"));
  EXPECT_GT(static_cast<int64_t>(plan.totals.freed_bytes()), plan.totals.growth_bytes());

  const std::string id = StartGc(server);
  EXPECT_EQ(StartGc(server), id);
  v1::Job job = GetJob(server, id);
  EXPECT_EQ(job.kind(), v1::Job::GC);
  EXPECT_EQ(job.model(), "");
  server.RunJobs();
  job = GetJob(server, id);
  EXPECT_EQ(job.state(), v1::Job::SUCCEEDED);
  EXPECT_EQ(job.gc_report().models_rewritten(), 2u);
  EXPECT_EQ(job.gc_report().models_freed(), 1u);
  EXPECT_GT(job.gc_report().freed_bytes(), plan.totals.freed_bytes());
  EXPECT_TRUE(server.FetchFile("one", "model.safetensors").data == one.at("model.safetensors"));
  EXPECT_TRUE(server.FetchFile("two", "model.safetensors").data == two.at("model.safetensors"));
  EXPECT_THAT(PlanGc(server).freed, IsEmpty());
}

grpc::Status SetRule(TestServer& server, const std::string& name, uint64_t keep_last) {
  grpc::ClientContext context;
  v1::SetRetentionRuleRequest request;
  request.mutable_rule()->set_name(name);
  request.mutable_rule()->set_keep_last(keep_last);
  v1::RetentionRule response;
  return server.maintenance->SetRetentionRule(&context, request, &response);
}

TEST(MaintenanceService, RetentionRulesAreKeptAndApplied) {
  TestServer server;
  EXPECT_EQ(CodeAndReason(SetRule(server, "rule", 0)), "INVALID_ARGUMENT BAD_RULE");
  for (const char* name : {"a", "b", "c"}) EXPECT_TRUE(SetRule(server, name, 1).ok());
  v1::ListRetentionRulesRequest list;
  list.set_page_size(2);
  std::vector<std::string> names;
  do {
    v1::ListRetentionRulesResponse page;
    grpc::ClientContext context;
    ASSERT_TRUE(server.maintenance->ListRetentionRules(&context, list, &page).ok());
    for (const v1::RetentionRule& rule : page.rules()) {
      names.push_back(rule.name());
      EXPECT_GT(rule.update_time().seconds(), 0);
    }
    list.set_page_token(page.next_page_token());
  } while (!list.page_token().empty());
  EXPECT_THAT(names, ElementsAre("a", "b", "c"));
  v1::DeleteRetentionRuleRequest deletion;
  for (const char* expected : {"OK", "NOT_FOUND RULE_NOT_FOUND"}) {
    deletion.set_name("b");
    google::protobuf::Empty response;
    grpc::ClientContext context;
    EXPECT_EQ(CodeAndReason(server.maintenance->DeleteRetentionRule(&context, deletion, &response)),
              expected);
  }

  for (int i = 0; i < 3; ++i) {
    v1::StartUploadRequest request;
    request.set_name("run");
    request.set_new_version(true);
    const TestFiles files = {{"step.txt", std::string(i + 1, 'x')}};
    const std::string upload = server.Open(request, files);
    ASSERT_TRUE(server.Write(TestServer::PiecesOf(upload, files)).ok());
    v1::FinishUploadResponse response;
    ASSERT_TRUE(server.Finish(upload, &response).ok());
  }
  server.RunJobs();
  std::vector<uint64_t> positions;
  grpc::ClientContext context;
  const auto reader = server.maintenance->PlanGc(&context, v1::PlanGcRequest());
  v1::PlanGcTotals totals;
  for (v1::PlanGcResponse item; reader->Read(&item);) {
    if (item.has_deletion()) {
      EXPECT_EQ(item.deletion().run(), "run");
      EXPECT_EQ(item.deletion().rule(), "a");
      positions.push_back(item.deletion().position());
    }
    if (item.has_totals()) totals = item.totals();
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_THAT(positions, ElementsAre(1, 2));
  EXPECT_EQ(totals.models_deleted(), 2u);
  const std::string id = StartGc(server);
  server.RunJobs();
  EXPECT_EQ(GetJob(server, id).gc_report().models_deleted(), 2u);
  EXPECT_TRUE(server.FetchFile("run", "step.txt").data == "xxx");
}

TEST(MaintenanceService, PlansAreBoundedInNumber) {
  TestServer server;
  std::vector<Admission::Slot> slots;
  while (auto slot = server.environment().comparisons().TryEnter()) {
    slots.push_back(*std::move(slot));
  }
  EXPECT_EQ(CodeAndReason(PlanGc(server).status), "RESOURCE_EXHAUSTED TOO_MANY_COMPARISONS");
}

TEST(MaintenanceService, APlanEndsWhenTheServerDrains) {
  TestServer server;
  server.Push("base", SmallCheckpoint(1));
  server.RunJobs();
  server.environment().StartDraining();
  EXPECT_EQ(CodeAndReason(PlanGc(server).status), "UNAVAILABLE STOPPING");
}

}  // namespace
}  // namespace wdelta::testing

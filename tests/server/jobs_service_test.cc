#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/test_server.h"

namespace wdelta::testing {
namespace {

v1::WatchJobRequest WatchOf(const std::string& job) {
  v1::WatchJobRequest request;
  request.set_job(job);
  return request;
}

TEST(JobsService, WatchShowsTheJobAsItIsAndUntilItsEnd) {
  TestServer server;
  const std::string job = server.Push("m", SmallCheckpoint(1)).job();
  grpc::ClientContext context;
  const auto reader = server.jobs->WatchJob(&context, WatchOf(job));
  v1::Job seen;
  ASSERT_TRUE(reader->Read(&seen));
  EXPECT_EQ(seen.state(), v1::Job::PENDING);
  EXPECT_EQ(seen.id(), job);
  server.RunJobs();
  while (reader->Read(&seen)) {
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(seen.state(), v1::Job::SUCCEEDED);
  EXPECT_EQ(seen.done_bytes(), seen.total_bytes());
}

TEST(JobsService, WatchEndsWhenTheServerDrainsAndOnCancel) {
  TestServer server;
  const std::string job = server.Push("m", SmallCheckpoint(1)).job();
  v1::Job seen;
  grpc::ClientContext cancelled_context;
  const auto cancelled = server.jobs->WatchJob(&cancelled_context, WatchOf(job));
  ASSERT_TRUE(cancelled->Read(&seen));
  cancelled_context.TryCancel();
  EXPECT_EQ(cancelled->Finish().error_code(), grpc::StatusCode::CANCELLED);

  grpc::ClientContext context;
  const auto reader = server.jobs->WatchJob(&context, WatchOf(job));
  ASSERT_TRUE(reader->Read(&seen));
  server.environment().StartDraining();
  EXPECT_FALSE(reader->Read(&seen));
  EXPECT_EQ(CodeAndReason(reader->Finish()), "UNAVAILABLE STOPPING");
}

TEST(JobsService, UnknownJobs) {
  TestServer server;
  grpc::ClientContext context;
  const auto reader = server.jobs->WatchJob(&context, WatchOf("nosuch"));
  v1::Job job;
  EXPECT_FALSE(reader->Read(&job));
  EXPECT_EQ(CodeAndReason(reader->Finish()), "NOT_FOUND JOB_NOT_FOUND");
}

TEST(JobsService, CancelledModelIsServedFromItsUpload) {
  TestServer server;
  const TestFiles files = SmallCheckpoint(1);
  v1::CancelJobRequest request;
  request.set_job(server.Push("m", files).job());
  v1::Job job;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(server.jobs->CancelJob(&context, request, &job).ok());
  }
  EXPECT_EQ(job.state(), v1::Job::CANCELLED);
  server.RunJobs();
  EXPECT_TRUE(server.FetchFile("m", "model.safetensors").data == files.at("model.safetensors"));
  grpc::ClientContext context;
  EXPECT_EQ(CodeAndReason(server.jobs->CancelJob(&context, request, &job)),
            "FAILED_PRECONDITION JOB_ENDED");
}

TEST(JobsService, ListIsNewestFirstInPagesAndFiltered) {
  TestServer server;
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    ids.insert(ids.begin(), server.Push(absl::StrCat("m", i), {{"a.txt", "a"}}).job());
  }
  v1::ListJobsRequest request;
  request.set_page_size(2);
  std::vector<std::string> listed;
  do {
    v1::ListJobsResponse page;
    grpc::ClientContext context;
    ASSERT_TRUE(server.jobs->ListJobs(&context, request, &page).ok());
    EXPECT_LE(page.jobs_size(), 2);
    for (const v1::Job& job : page.jobs()) listed.push_back(job.id());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(listed, ids);
  request.add_states(v1::Job::SUCCEEDED);
  v1::ListJobsResponse none;
  grpc::ClientContext context;
  ASSERT_TRUE(server.jobs->ListJobs(&context, request, &none).ok());
  EXPECT_EQ(none.jobs_size(), 0);
}

}  // namespace
}  // namespace wdelta::testing

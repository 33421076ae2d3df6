#include "client/cpp/client.h"

#include <vector>

#include "absl/time/clock.h"
#include "client/cpp/rpc_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/client/fake_server.h"

namespace wdelta {
namespace {

TEST(ClientTest, PagesAreWalked) {
  FakeServer server;
  for (const char* name : {"a", "b", "c", "d", "e"}) server.AddModel(name, {});
  const auto client = server.NewClient({.page_size = 2});
  Pager<v1::Model> pager = client->ListModels();
  EXPECT_EQ(server.list_calls, 0) << "a page is asked for when it is needed";
  const auto first = pager.Next();
  ASSERT_TRUE(first.ok() && first->has_value()) << first.status();
  EXPECT_EQ((*first)->name(), "a");
  EXPECT_EQ(server.list_calls, 1);
  const auto rest = pager.All();
  ASSERT_TRUE(rest.ok()) << rest.status();
  std::vector<std::string> names;
  for (const v1::Model& model : *rest) names.push_back(model.name());
  EXPECT_THAT(names, ::testing::ElementsAre("b", "c", "d", "e"));
  EXPECT_EQ(server.list_calls, 3);
  const auto after = pager.Next();
  ASSERT_TRUE(after.ok());
  EXPECT_FALSE(after->has_value());
}

TEST(ClientTest, AnEmptyListIsNoError) {
  FakeServer server;
  const auto models = server.NewClient()->ListModels().All();
  ASSERT_TRUE(models.ok()) << models.status();
  EXPECT_TRUE(models->empty());
}

TEST(ClientTest, APageTokenThatComesBackEndsTheWalk) {
  FakeServer server;
  server.faults.same_page_token = true;
  EXPECT_TRUE(absl::IsInternal(server.NewClient()->ListModels().All().status()));
}

TEST(ClientTest, ErrorInfoIsKept) {
  FakeServer server;
  const absl::Status status = server.NewClient()->GetModel("none").status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_EQ(status.message(), "no model none");
  EXPECT_EQ(ErrorReason(status), "MODEL_NOT_FOUND");
  EXPECT_THAT(GetErrorDetails(status), ::testing::ElementsAre(std::pair("subject", "x")));
}

TEST(ClientTest, StatusWithoutOrWithGarbledDetails) {
  const absl::Status plain = FromGrpcStatus({grpc::StatusCode::ABORTED, "busy"});
  EXPECT_TRUE(absl::IsAborted(plain));
  EXPECT_EQ(ErrorReason(plain), "");
  const absl::Status garbled =
      FromGrpcStatus({grpc::StatusCode::ABORTED, "busy", "\xff\xff not a proto"});
  EXPECT_EQ(garbled.message(), "busy");
  EXPECT_TRUE(FromGrpcStatus(grpc::Status::OK).ok());
}

TEST(ClientTest, NoServer) {
  const auto client = Client::Create("unix:/nonexistent/socket");
  ASSERT_TRUE(client.ok());
  EXPECT_TRUE(IsUnreachable((*client)->GetServerInfo().status()));
}

TEST(ClientTest, AddressesAreChecked) {
  for (const char* address : {"", "localhost", "unix:"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Client::Create(address).status())) << address;
  }
}

TEST(ClientTest, AWatchedJobIsReturnedHoweverItEnds) {
  FakeServer server;
  server.job_state = v1::Job::CANCELLED;
  const auto job = server.NewClient()->WatchJob("j");
  ASSERT_TRUE(job.ok()) << job.status();
  EXPECT_EQ(ErrorReason(JobResult(*job)), "JOB_CANCELLED");
}

TEST(ClientTest, AnInterruptEndsAWatchThatAwaitsTheServer) {
  FakeServer server;
  server.job_state = v1::Job::RUNNING;
  const auto client = server.NewClient({.rpc_timeout = absl::Minutes(10)});
  Interrupt interrupt;
  std::vector<absl::StatusCode> told;
  const absl::Time begin = absl::Now();
  const absl::Status status = client
                                  ->WatchJob(
                                      "j", [&](const v1::Job&) { server.Stop(); }, &interrupt,
                                      [&](const absl::Status& reason) {
                                        told.push_back(reason.code());
                                        interrupt.Trigger();
                                      })
                                  .status();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
  EXPECT_EQ(status.message(), "interrupted");
  EXPECT_THAT(told, ::testing::ElementsAre(absl::StatusCode::kUnavailable));
  EXPECT_LT(absl::Now() - begin, absl::Minutes(1));
}

TEST(ClientTest, AwaitConnectionTellsWhetherThereIsOne) {
  FakeServer server;
  Interrupt interrupt;
  const auto client = server.NewClient();
  EXPECT_TRUE(client->AwaitConnection(absl::Minutes(10), interrupt));
  const auto lost = Client::Create("unix:/nonexistent/socket");
  ASSERT_TRUE(lost.ok());
  EXPECT_FALSE((*lost)->AwaitConnection(absl::Milliseconds(1), interrupt));
  interrupt.Trigger();
  EXPECT_FALSE((*lost)->AwaitConnection(absl::Minutes(10), interrupt));
}

TEST(ClientTest, AWatchThatNeverEndsIsGivenUp) {
  FakeServer server;
  server.job_state = v1::Job::RUNNING;
  EXPECT_FALSE(server.NewClient()->WatchJob("j").ok());
}

}  // namespace
}  // namespace wdelta

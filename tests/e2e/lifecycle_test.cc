// The daemon from its start to its end: signals, drain, health, its data folder.
#include <signal.h>

#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/rpc/services.h"
#include "storage/base/digest.h"
#include "storage/base/limits.h"
#include "tests/e2e/daemon.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"
#include "wdelta/v1/fetch.grpc.pb.h"
#include "wdelta/v1/uploads.grpc.pb.h"

namespace wdelta::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// More than gRPC's windows hold between a server and a client that does not read.
constexpr uint64_t kBigBytes = 32 * limits::kMiB;

class LifecycleTest : public ::testing::Test {
 protected:
  std::string DataDir() const { return folder_ / "data"; }

  void WriteFiles(const std::string& name, const TestFiles& files) const {
    for (const auto& [path, bytes] : files) folder_.Write(name + "/" + path, bytes);
  }

  void ExpectPulledEqual(const Daemon& daemon, const std::string& model, const TestFiles& files) {
    const std::string target = "pulled-" + model;
    daemon.WdeltaOk({"pull", model, folder_ / target});
    for (const auto& [path, bytes] : files) {
      EXPECT_TRUE(folder_.Read(target + "/" + path) == bytes) << model << "/" << path;
    }
  }

  // A fetch that waits for its client, over a channel of its own.
  struct RunningFetch {
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::Fetch::Stub> stub;
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::FetchFileResponse>> reader;
  };
  std::unique_ptr<RunningFetch> StartBigFetch(const Daemon& daemon) {
    folder_.Write("big/blob.bin", std::string(kBigBytes, 'x'));
    daemon.WdeltaOk({"push", folder_ / "big", "--name", "big"});
    auto fetch = std::make_unique<RunningFetch>();
    fetch->channel = daemon.NewChannel();
    fetch->stub = v1::Fetch::NewStub(fetch->channel);
    v1::FetchFileRequest request;
    request.set_model("big");
    request.set_path("blob.bin");
    fetch->reader = fetch->stub->FetchFile(&fetch->context, request);
    v1::FetchFileResponse header;
    EXPECT_TRUE(fetch->reader->Read(&header));
    EXPECT_EQ(header.header().size_bytes(), kBigBytes);
    return fetch;
  }

  const TempFolder folder_;
};

TEST_F(LifecycleTest, StopsCleanlyOnSigtermAndOnSigint) {
  for (const int signal : {SIGTERM, SIGINT}) {
    Daemon daemon(DataDir());
    daemon.process().Signal(signal);
    EXPECT_EQ(daemon.process().Wait(), 0) << daemon.process().output();
    EXPECT_THAT(daemon.process().output(), HasSubstr("stopped"));
  }
}

TEST_F(LifecycleTest, HealthAndReflectionAnswer) {
  Daemon daemon(DataDir());
  const auto channel = daemon.NewChannel();
  EXPECT_EQ(HealthOf(*channel, ""), "SERVING");
  EXPECT_EQ(HealthOf(*channel, "nosuch.Service"), "NOT_FOUND");
  const absl::StatusOr<std::string> listed = ListServices(*channel);
  ASSERT_TRUE(listed.ok()) << listed.status();
  EXPECT_THAT(*listed, HasSubstr("grpc.health.v1.Health"));
  for (const std::string& name : RpcServices::Names()) {
    EXPECT_EQ(HealthOf(*channel, name), "SERVING") << name;
    EXPECT_THAT(*listed, HasSubstr(name));
  }
  EXPECT_EQ(daemon.Stop(), 0);
}

TEST_F(LifecycleTest, FinishesARunningFetchWhileItDrains) {
  Daemon daemon(DataDir(), {"--drain_grace_ms=60000"});
  const auto fetch = StartBigFetch(daemon);
  {
    HealthWatch health(daemon.NewChannel());
    EXPECT_EQ(health.Next(), "SERVING");
    daemon.process().Signal(SIGTERM);
    EXPECT_EQ(health.Next(), "NOT_SERVING");
  }
  const CommandResult late = daemon.Wdelta({"version"});
  EXPECT_EQ(late.exit_code, 6);
  EXPECT_EQ(late.err, "wdelta: version: the server is stopping [STOPPING]\n");
  uint64_t fetched_bytes = 0;
  std::string sha256;
  for (v1::FetchFileResponse message; fetch->reader->Read(&message);) {
    fetched_bytes += message.piece().data().size();
    if (message.has_trailer()) sha256 = message.trailer().sha256();
  }
  const grpc::Status status = fetch->reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(fetched_bytes, kBigBytes);
  EXPECT_EQ(sha256, Digest::Of(std::string(kBigBytes, 'x')).ToHex());
  EXPECT_EQ(daemon.process().Wait(), 0) << daemon.process().output();
}

TEST_F(LifecycleTest, CancelsWhatStillRunsAfterTheGrace) {
  Daemon daemon(DataDir(), {"--drain_grace_ms=10"});
  const auto fetch = StartBigFetch(daemon);
  HealthWatch health(fetch->channel);
  EXPECT_EQ(health.Next(), "SERVING");
  daemon.process().Signal(SIGTERM);
  EXPECT_EQ(health.Next(), "NOT_SERVING");
  EXPECT_EQ(health.Next(), "END");
  EXPECT_EQ(daemon.process().Wait(), 0) << daemon.process().output();
  v1::FetchFileResponse message;
  while (fetch->reader->Read(&message)) {
  }
  EXPECT_FALSE(fetch->reader->Finish().ok());
}

TEST_F(LifecycleTest, ASecondSignalEndsItAtOnce) {
  Daemon daemon(DataDir(), {"--drain_grace_ms=3600000"});
  const auto fetch = StartBigFetch(daemon);
  HealthWatch health(daemon.NewChannel());
  EXPECT_EQ(health.Next(), "SERVING");
  daemon.process().Signal(SIGTERM);
  EXPECT_EQ(health.Next(), "NOT_SERVING");
  daemon.process().Signal(SIGTERM);
  EXPECT_EQ(daemon.process().Wait(), 128 + SIGTERM);
  fetch->context.TryCancel();
  fetch->reader->Finish();
}

TEST_F(LifecycleTest, ModelsSurviveARestartAndAKill) {
  const TestFiles base = SmallCheckpoint(1);
  const TestFiles tuned = SmallCheckpoint(1, 2);
  WriteFiles("base", base);
  WriteFiles("tuned", tuned);
  {
    Daemon daemon(DataDir());
    daemon.WdeltaOk({"push", folder_ / "base", "--name", "base", "--wait"});
    daemon.WdeltaOk({"tag", "base@prod", "base"});
    EXPECT_EQ(daemon.Stop(), 0);
  }
  {
    Daemon daemon(DataDir());
    daemon.WdeltaOk({"push", folder_ / "tuned", "--name", "tuned", "--parent", "base@prod"});
    // What was acknowledged survives, whatever the job was doing.
    daemon.process().Signal(SIGKILL);
    EXPECT_EQ(daemon.process().Wait(), 128 + SIGKILL);
  }
  Daemon daemon(DataDir());
  ExpectPulledEqual(daemon, "base@prod", base);
  ExpectPulledEqual(daemon, "tuned", tuned);
  EXPECT_EQ(daemon.Stop(), 0);
}

TEST_F(LifecycleTest, RefusesAFolderThatIsNotForIt) {
  {
    Daemon daemon(DataDir());
    const CommandResult second = RunDaemon(DataDir());
    EXPECT_EQ(second.exit_code, 1);
    EXPECT_THAT(second.err, AllOf(HasSubstr(DataDir()), HasSubstr("in use")));
    // The first one is none the worse.
    EXPECT_EQ(HealthOf(*daemon.NewChannel(), ""), "SERVING");
    EXPECT_EQ(daemon.Stop(), 0);
  }
  folder_.Write("data/FORMAT", "wdelta-data 99\n");
  const CommandResult newer = RunDaemon(DataDir());
  EXPECT_EQ(newer.exit_code, 1);
  EXPECT_THAT(newer.err, AllOf(HasSubstr(DataDir()), HasSubstr("99"), HasSubstr("newer")));
  EXPECT_EQ(folder_.Read("data/FORMAT"), "wdelta-data 99\n");

  folder_.Write("foreign/thesis.tex", "mine");
  const CommandResult foreign = RunDaemon(folder_ / "foreign");
  EXPECT_EQ(foreign.exit_code, 1);
  EXPECT_THAT(foreign.err, HasSubstr(folder_ / "foreign"));
  EXPECT_EQ(folder_.Read("foreign/thesis.tex"), "mine");
}

TEST_F(LifecycleTest, SaysWhyItDoesNotStart) {
  Daemon daemon(DataDir());
  const CommandResult busy = RunDaemon(folder_ / "other", {"--listen=" + daemon.address()});
  EXPECT_EQ(busy.exit_code, 1);
  EXPECT_THAT(busy.err, AllOf(HasSubstr("cannot listen on"), HasSubstr(daemon.address())));
  const CommandResult bad_flag = RunDaemon(folder_ / "other", {"--workers=none"});
  EXPECT_EQ(bad_flag.exit_code, 2);
  EXPECT_THAT(bad_flag.err, HasSubstr("--workers"));
}

TEST_F(LifecycleTest, CancelsAnUploadThatNobodyGoesOnWith) {
  Daemon daemon(DataDir(), {"--upload_ttl=1s"});
  const auto uploads = v1::Uploads::NewStub(daemon.NewChannel());
  v1::StartUploadRequest start;
  start.set_name("idle");
  v1::Upload upload;
  grpc::ClientContext start_context;
  ASSERT_TRUE(uploads->StartUpload(&start_context, start, &upload).ok());
  EXPECT_TRUE(upload.has_expire_time());
  EXPECT_TRUE(daemon.process().ReadUntil("cancelled after a long time without activity"));
  v1::AddEntriesRequest entries;
  entries.set_upload(upload.id());
  grpc::ClientContext add_context;
  const grpc::Status added = uploads->AddEntries(&add_context, entries, &upload);
  EXPECT_EQ(added.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(added.error_message(), HasSubstr("without activity"));
  EXPECT_TRUE(std::filesystem::is_empty(DataDir() + "/staging"));
}

TEST_F(LifecycleTest, IsReadOnlyOnADiskThatIsNearlyFull) {
  WriteFiles("model", SmallCheckpoint(1));
  {
    const Daemon daemon(DataDir());
    daemon.WdeltaOk({"push", folder_ / "model", "--name", "before", "--wait"});
    EXPECT_THAT(daemon.WdeltaOk({"version"}), HasSubstr(" free\n"));
  }
  const Daemon daemon(DataDir(), {"--min_free_bytes=1000000TiB"});
  const CommandResult refused =
      daemon.Wdelta({"push", folder_ / "model", "--name", "after", "--wait"});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("bytes of free disk space"), HasSubstr("[DISK_FULL]")));
  EXPECT_THAT(daemon.WdeltaOk({"version"}), HasSubstr("uploads and jobs wait"));
  ExpectPulledEqual(daemon, "before", SmallCheckpoint(1));
}

}  // namespace
}  // namespace wdelta::testing

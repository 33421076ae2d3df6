// Calls and jobs that are cancelled, or whose deadline passes, amid their work stop at once:
// little is done after that, which is counted, and it takes little time, which is printed.
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/engine/low_rank_tensors.h"
#include "tests/server/read_gate.h"
#include "tests/server/test_server.h"
#include "tests/support/fault_file_system.h"

namespace wdelta::testing {
namespace {

// What is wanted is 100 ms; a machine that others use needs more now and then.
constexpr absl::Duration kMaxTime = absl::Seconds(2);
// Reads that may begin after the end of a call: two threads decode a piece each, of up to
// two chunks with one of a parent each, and open a model.
constexpr int kMaxStepsAfter = 64;  // gRPC may take a moment to tell the call

using Call = std::function<grpc::Status(grpc::ClientContext&)>;

// Messages to the end of the stream.
template <typename Response, typename Reader>
grpc::Status ReadAll(const std::unique_ptr<Reader>& reader) {
  Response response;
  while (reader->Read(&response)) {
  }
  return reader->Finish();
}

// A backup that never ends by itself.
class EndlessBackup final : public BackupMaker {
 public:
  explicit EndlessBackup(ReadGate* gate) : gate_(*gate) {}
  absl::StatusOr<BackupReport> MakeBackup(const BackupOptions&,
                                          const OnProgress& on_progress) override {
    BackupProgress progress;
    while (true) {
      gate_.Step();
      progress.read_bytes += 1;
      if (const absl::Status status = on_progress(progress); !status.ok()) return status;
    }
  }

 private:
  ReadGate& gate_;
};

class CancellationTest : public ::testing::Test {
 protected:
  CancellationTest()
      : posix_(NewPosixFileSystem()),
        files_(posix_.get()),
        backup_(&gate_),
        server_(std::make_unique<TestServer>(Options(), &files_)) {
    server_->blobs().before_get = [this] { gate_.Step(); };
    files_.before_append = [this] { append_gate_.Step(); };
  }

  RpcOptions Options() {
    RpcOptions options;
    options.backup_maker = &backup_;
    return options;
  }

  // 24 MiB: many more chunks than are decoded ahead.
  TestFiles Large(uint32_t fine_tune_seed = 0) {
    TestTensor tensor = RandomWeights("w", {4096, 3072}, 1);
    if (fine_tune_seed != 0) tensor = FineTuned(tensor, fine_tune_seed);
    return {{"model.safetensors", BuildSafetensors({tensor})}};
  }
  void PushLargePair() {
    server_->Push("base", Large());
    server_->Push("tuned", Large(7), {"base"});
    server_->RunJobs();
  }

  std::string Repack(const std::string& model, v1::FidelityPolicy::Effort effort) {
    v1::RepackModelRequest request;
    request.set_model(model);
    request.set_effort(effort);
    v1::RepackModelResponse response;
    grpc::ClientContext context;
    EXPECT_EQ(CodeAndReason(server_->models->RepackModel(&context, request, &response)), "OK");
    return response.job();
  }
  uint64_t StoredBytes(const std::string& name) {
    return server_->store().models().Resolve(name)->record.stored_bytes();
  }

  void Report(const std::string& what, const ReadGate& gate, int max_steps) {
    const absl::Duration time = absl::Now() - gate.opened_at();
    std::printf("%-28s over after %8.2f ms, %d steps\n", what.c_str(),
                absl::ToDoubleMilliseconds(time), gate.steps_after());
    EXPECT_LT(time, kMaxTime) << what;
    EXPECT_LE(gate.steps_after(), max_steps) << what;
  }

  // The call is cancelled at a step of its work, which goes on when the client has its answer.
  void CancelAmid(const std::string& what, int step, const Call& call, ReadGate& gate,
                  int max_steps = kMaxStepsAfter) {
    auto context = std::make_unique<grpc::ClientContext>();
    gate.Close(step, [&] { context->TryCancel(); });
    const grpc::Status status = call(*context);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED) << what;
    AwaitHeard();
    gate.Open();
    EXPECT_TRUE(gate.was_reached()) << what;
    context.reset();  // a call may not be over before its client has let go of it
    EXPECT_TRUE(server_->environment().active_calls().AwaitNone(absl::Seconds(60))) << what;
    Report(what, gate, max_steps);
  }

  // The same with a deadline that passes while the work waits at the step. Longer ones are
  // tried until the work comes so far.
  void ExpireAmid(const std::string& what, int step, const Call& call, ReadGate& gate,
                  int max_steps = kMaxStepsAfter) {
    for (absl::Duration time = absl::Milliseconds(100);; time *= 2) {
      auto context = std::make_unique<grpc::ClientContext>();
      context->set_deadline(absl::ToChronoTime(absl::Now() + time));
      gate.Close(step, [] {});
      const grpc::Status status = call(*context);
      ASSERT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED) << what;
      AwaitHeard();
      gate.Open();
      context.reset();
      EXPECT_TRUE(server_->environment().active_calls().AwaitNone(absl::Seconds(60))) << what;
      if (!gate.was_reached()) continue;
      return Report(what, gate, max_steps);
    }
  }

  // A call that comes later is answered after the end of one before was heard.
  void AwaitHeard() {
    v1::GetModelRequest request;
    request.set_model("nobody");
    v1::Model model;
    grpc::ClientContext context;
    EXPECT_EQ(CodeAndReason(server_->models->GetModel(&context, request, &model)),
              "NOT_FOUND MODEL_NOT_FOUND");
  }

  // Runs the job in the queue, which is cancelled at a step of its work.
  void CancelJobAmid(const std::string& what, int step, const std::string& job) {
    // Before the gate closes: reads that the last job began may still come to it.
    absl::StatusOr<JobQueue::Claim> claim = server_->store().jobs().ClaimNext();
    ASSERT_TRUE(claim.ok() && claim->job.has_value());
    gate_.Close(step, [] {});
    std::thread worker([&] {
      const absl::Status ran =
          server_->store().runner().Run(*std::move(claim->job), [] { return false; });
      EXPECT_TRUE(absl::IsCancelled(ran)) << ran;
    });
    gate_.AwaitReached();
    v1::CancelJobRequest request;
    request.set_job(job);
    v1::Job cancelled;
    grpc::ClientContext context;
    EXPECT_EQ(CodeAndReason(server_->jobs->CancelJob(&context, request, &cancelled)), "OK");
    gate_.Open();
    worker.join();
    // The job looks for its end every few milliseconds: how many steps fit between is not told.
    Report(what, gate_, 1'000'000);
    v1::GetJobRequest get;
    get.set_job(job);
    grpc::ClientContext get_context;
    EXPECT_EQ(CodeAndReason(server_->jobs->GetJob(&get_context, get, &cancelled)), "OK");
    EXPECT_EQ(cancelled.state(), v1::Job::CANCELLED) << what;
  }

  const std::unique_ptr<FileSystem> posix_;
  FaultFileSystem files_;
  ReadGate gate_;         // of reads of blobs, and of progress of the backup
  ReadGate append_gate_;  // of writes of staged files
  EndlessBackup backup_;
  std::unique_ptr<TestServer> server_;
};

TEST_F(CancellationTest, Fetches) {
  PushLargePair();
  const Call file = [this](grpc::ClientContext& context) {
    v1::FetchFileRequest request;
    request.set_model("tuned");
    request.set_path("model.safetensors");
    return ReadAll<v1::FetchFileResponse>(server_->fetch->FetchFile(&context, request));
  };
  const Call tensors = [this](grpc::ClientContext& context) {
    v1::FetchTensorsRequest request;
    request.set_model("tuned");
    return ReadAll<v1::FetchTensorsResponse>(server_->fetch->FetchTensors(&context, request));
  };
  const Call delta = [this](grpc::ClientContext& context) {
    v1::FetchDeltaRequest request;
    request.set_model("tuned");
    return ReadAll<v1::FetchFileResponse>(server_->fetch->FetchDelta(&context, request));
  };
  CancelAmid("FetchFile", 8, file, gate_);
  ExpireAmid("FetchFile, deadline", 8, file, gate_);
  CancelAmid("FetchTensors", 8, tensors, gate_);
  ExpireAmid("FetchTensors, deadline", 8, tensors, gate_);
  CancelAmid("FetchDelta", 3, delta, gate_);
  ExpireAmid("FetchDelta, deadline", 3, delta, gate_);
  EXPECT_TRUE(server_->FetchFile("tuned", "model.safetensors").status.ok());
}

TEST_F(CancellationTest, Comparisons) {
  PushLargePair();
  const Call diff = [this](grpc::ClientContext& context) {
    v1::DiffRequest request;
    request.set_model_a("base");
    request.set_model_b("tuned");
    return ReadAll<v1::DiffResponse>(server_->compare->Diff(&context, request));
  };
  CancelAmid("Diff", 8, diff, gate_);
  ExpireAmid("Diff, deadline", 8, diff, gate_);
}

TEST_F(CancellationTest, Blame) {
  constexpr uint32_t kGenerations = 24;
  server_->Push("g0", SmallCheckpoint(1));
  server_->RunJobs();
  for (uint32_t i = 1; i < kGenerations; ++i) {
    server_->Push(absl::StrCat("g", i), SmallCheckpoint(1, i), {absl::StrCat("g", i - 1)});
    server_->RunJobs();
  }
  const Call blame = [this](grpc::ClientContext& context) {
    v1::BlameRequest request;
    request.set_model(absl::StrCat("g", kGenerations - 1));
    return ReadAll<v1::BlameResponse>(server_->compare->Blame(&context, request));
  };
  CancelAmid("Blame", 3, blame, gate_);
  ExpireAmid("Blame, deadline", 3, blame, gate_);
}

TEST_F(CancellationTest, PlanOfAGc) {
  constexpr uint32_t kFamilies = 6;
  for (uint32_t i = 1; i <= kFamilies; ++i) {
    server_->Push(absl::StrCat("base", i), SmallCheckpoint(10 * i));
    server_->RunJobs();
    server_->Push(absl::StrCat("tuned", i), SmallCheckpoint(10 * i, 2), {absl::StrCat("base", i)});
    server_->RunJobs();
    v1::DeleteModelRequest request;
    request.set_model(absl::StrCat("base", i));
    google::protobuf::Empty response;
    grpc::ClientContext context;
    EXPECT_TRUE(server_->models->DeleteModel(&context, request, &response).ok());
  }
  const Call plan = [this](grpc::ClientContext& context) {
    return ReadAll<v1::PlanGcResponse>(server_->maintenance->PlanGc(&context, {}));
  };
  CancelAmid("PlanGc", 2, plan, gate_);
  ExpireAmid("PlanGc, deadline", 2, plan, gate_);
}

TEST_F(CancellationTest, Backup) {
  const Call backup = [this](grpc::ClientContext& context) {
    return ReadAll<v1::BackupResponse>(server_->admin->Backup(&context, v1::BackupRequest()));
  };
  // A step takes no time: only time tells.
  constexpr int kAnySteps = std::numeric_limits<int>::max();
  CancelAmid("Backup", 100, backup, gate_, kAnySteps);
  ExpireAmid("Backup, deadline", 100, backup, gate_, kAnySteps);
}

TEST_F(CancellationTest, UploadStreams) {
  const TestFiles files = Large();
  int uploads = 0;
  const Call upload = [&](grpc::ClientContext& context) {
    v1::StartUploadRequest request;
    request.set_name(absl::StrCat("upload", ++uploads));
    const std::string id = server_->Open(request, files);
    v1::WriteEntriesResponse response;
    const auto writer = server_->uploads->WriteEntries(&context, &response);
    for (const v1::WriteEntriesRequest& piece : TestServer::PiecesOf(id, files)) {
      if (!writer->Write(piece)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  };
  CancelAmid("WriteEntries", 5, upload, append_gate_);
  ExpireAmid("WriteEntries, deadline", 5, upload, append_gate_);
}

TEST_F(CancellationTest, WatchesOfJobs) {
  const std::string job = server_->Push("m", SmallCheckpoint(1)).job();
  for (int i = 0; i < 3; ++i) {
    v1::WatchJobRequest request;
    request.set_job(job);
    grpc::ClientContext context;
    const auto reader = server_->jobs->WatchJob(&context, request);
    v1::Job seen;
    ASSERT_TRUE(reader->Read(&seen));
    gate_.Close(1, [] {});
    gate_.Open();
    context.TryCancel();
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
    EXPECT_TRUE(server_->environment().active_calls().AwaitNone(absl::Seconds(60)));
    Report("WatchJob", gate_, 0);
  }
}

TEST_F(CancellationTest, Jobs) {
  server_->Push("base", Large());
  server_->RunJobs();
  const v1::Model tuned = server_->Push("tuned", Large(7), {"base"});
  CancelJobAmid("INGEST", 4, tuned.job());
  server_->Push("other", Large(8), {"base"});
  server_->RunJobs();
  v1::MergeModelsRequest merge;
  merge.set_name("merged");
  merge.add_sources()->set_model("base");
  merge.add_sources()->set_model("other");
  merge.mutable_linear();
  v1::MergeModelsResponse merging;
  grpc::ClientContext merge_context;
  ASSERT_EQ(CodeAndReason(server_->merge->MergeModels(&merge_context, merge, &merging)), "OK");
  CancelJobAmid("MERGE", 4, merging.job());
  CancelJobAmid("REPACK", 4, Repack("other", v1::FidelityPolicy::FAST));
  v1::StartScrubResponse scrubbing;
  grpc::ClientContext scrub_context;
  ASSERT_EQ(CodeAndReason(server_->maintenance->StartScrub(&scrub_context, {}, &scrubbing)), "OK");
  CancelJobAmid("SCRUB", 2, scrubbing.job());
  EXPECT_TRUE(server_->FetchFile("other", "model.safetensors").status.ok());
}

// Amid the sample of the model, and while its low ranks are looked for, some ahead of others.
TEST_F(CancellationTest, RepacksThatLookForLowRanks) {
  std::vector<TestTensor> plain, adapted;
  for (uint32_t i = 0; i < 24; ++i) {
    plain.push_back(Weights(DType::kBF16, 512, 512, i));
    plain.back().name = absl::StrCat("w", i);
    adapted.push_back(Merged(plain.back(), 3, 6e-4f, DType::kBF16));
  }
  server_->Push("adapted", {{kPath, BuildSafetensors(adapted)}});
  // What the third is stored against, which so is free for the first.
  std::vector<TestTensor> larger = plain;
  larger.push_back(RandomWeights("x", {512, 512}, 1));
  server_->Push("larger", {{kPath, BuildSafetensors(larger)}});
  server_->Push("plain", {{kPath, BuildSafetensors(plain)}}, {"larger"});
  server_->RunJobs();
  const uint64_t stored_bytes = StoredBytes("adapted");
  for (const int step : {4, 90}) {
    CancelJobAmid("REPACK of low ranks", step, Repack("adapted", v1::FidelityPolicy::MAX));
    EXPECT_EQ(StoredBytes("adapted"), stored_bytes);
  }
  Repack("adapted", v1::FidelityPolicy::MAX);
  server_->RunJobs();
  EXPECT_LT(2 * StoredBytes("adapted"), stored_bytes);
  EXPECT_TRUE(server_->FetchFile("adapted", kPath).status.ok());
}

// A unary call that its client has given up before its turn does nothing.
TEST_F(CancellationTest, CallsThatWaitForAThread) {
  const TestFiles files = SmallCheckpoint(1);
  server_->Push("m", files);
  // Threads may still hold it when the test is over.
  const auto may_go_on = std::make_shared<absl::Notification>();
  absl::BlockingCounter busy(limits::kChangeThreads);
  for (int i = 0; i < limits::kChangeThreads; ++i) {
    ASSERT_TRUE(server_->environment()
                    .ScheduleChange([&busy, may_go_on] {
                      busy.DecrementCount();
                      may_go_on->WaitForNotification();
                    })
                    .ok());
  }
  busy.Wait();
  v1::DeleteModelRequest request;
  request.set_model("m");
  google::protobuf::Empty response;
  {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(50)));
    EXPECT_EQ(server_->models->DeleteModel(&context, request, &response).error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  // Answered by other threads, after the deadline was heard.
  EXPECT_FALSE(server_->FetchFile("nobody", "config.json").status.ok());
  v1::GetModelRequest query;
  query.set_model("m");
  v1::Model found;
  grpc::ClientContext query_context;
  EXPECT_EQ(CodeAndReason(server_->models->GetModel(&query_context, query, &found)), "OK");
  may_go_on->Notify();
  EXPECT_TRUE(server_->environment().active_calls().AwaitNone(absl::Seconds(60)));
  EXPECT_TRUE(server_->FetchFile("m", "config.json").data == files.at("config.json"));
}

}  // namespace
}  // namespace wdelta::testing

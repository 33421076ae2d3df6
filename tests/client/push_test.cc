#include "client/cpp/push.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/client/fake_server.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

std::string Content(size_t size_bytes, char salt) {
  std::string content(size_bytes, '\0');
  for (size_t i = 0; i < size_bytes; ++i) content[i] = static_cast<char>(i * 31 + i / 7 + salt);
  return content;
}

class PushTest : public ::testing::Test {
 protected:
  PushTest() : client_(server_.NewClient()) {
    files_ = {{"a.bin", Content(1000, 'a')}, {"empty.txt", ""}, {"sub/b.bin", Content(777, 'b')}};
    for (const auto& [path, content] : files_) folder_.Write(path, content);
    options_.name = "model";
    options_.initial_backoff = absl::ZeroDuration();
  }

  FakeServer server_;
  std::unique_ptr<Client> client_;
  TempFolder folder_;
  std::map<std::string, std::string> files_;
  PushOptions options_;
};

TEST_F(PushTest, EveryFileArrives) {
  options_.labels = {{"team", "nlp"}};
  Progress last;
  options_.progress = [&](const Progress& progress) { last = progress; };
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_.uploaded, files_);
  EXPECT_EQ(result->job, "job-1");
  EXPECT_EQ(result->total_bytes, 1777u);
  EXPECT_EQ(last.done_bytes, 1777u);
  EXPECT_EQ(last.total_bytes, 1777u);
  EXPECT_EQ(server_.write_streams, 1);
  EXPECT_EQ(server_.start_request.kind(), v1::CHECKPOINT);
  EXPECT_EQ(server_.start_request.labels().at("team"), "nlp");
  EXPECT_EQ(server_.start_request.request_id().size(), 26u);
}

TEST_F(PushTest, GoesOnAfterABrokenStream) {
  server_.faults.break_after_pieces = 5;
  server_.faults.breaks = 4;
  options_.max_reconnects = 1;  // in a row: each stream makes progress
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_.uploaded, files_);
  EXPECT_EQ(server_.write_streams, 5);
  EXPECT_EQ(server_.received_bytes, 1777u) << "bytes were sent that the server had";
}

class PushOfKnownContentTest : public PushTest {
 protected:
  // A hundred side files of 5,000 bytes.
  PushOfKnownContentTest() {
    for (int i = 100; i < 200; ++i) {
      const std::string path = absl::StrCat("side/", i, ".bin");
      files_[path] = Content(5000, static_cast<char>(i));
      folder_.Write(path, files_[path]);
    }
  }
  void Remember(int first, int last) {
    for (int i = first; i < last; ++i) {
      const std::string& content = files_[absl::StrCat("side/", i, ".bin")];
      server_.contents[Digest::Of(content).ToHex()] = content;
    }
  }
};

TEST_F(PushOfKnownContentTest, IsNotSent) {
  Remember(100, 190);
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_.uploaded, files_);
  EXPECT_EQ(result->reused_bytes, 90 * 5000u);
  EXPECT_EQ(result->sent_bytes, 10 * 5000u + 1777u);
  EXPECT_EQ(server_.received_bytes, result->sent_bytes);
}

TEST_F(PushOfKnownContentTest, AFewAreAskedForWhereNoneIsKnown) {
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_.uploaded, files_);
  EXPECT_EQ(result->reused_bytes, 0u);
  EXPECT_GE(server_.asked_contents, 8u);
  EXPECT_LE(server_.asked_contents, 32u);
}

TEST_F(PushOfKnownContentTest, AlwaysAndNeverAreKept) {
  Remember(100, 101);
  options_.reuse = Reuse::kAlways;
  auto result = PushCheckpoint(*client_, folder_.path(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_.asked_contents, 100u);
  EXPECT_EQ(result->reused_bytes, 5000u);
  server_.uploaded.clear();
  options_.reuse = Reuse::kNever;
  result = PushCheckpoint(*client_, folder_.path(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_.asked_contents, 100u);
  EXPECT_EQ(result->reused_bytes, 0u);
  EXPECT_EQ(server_.uploaded, files_);
}

TEST_F(PushOfKnownContentTest, IsSentAfterAllWhenItIsForgotten) {
  Remember(100, 200);
  server_.faults.forgets_content = true;
  options_.max_reconnects = 1;
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_.uploaded, files_);
}

TEST_F(PushOfKnownContentTest, ABrokenStreamGoesOn) {
  Remember(100, 190);
  server_.faults.break_after_pieces = 70;
  server_.faults.breaks = 3;
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_.uploaded, files_);
  EXPECT_EQ(server_.received_bytes, 10 * 5000u + 1777u);
}

TEST_F(PushTest, TellsThatItStandsStillAndGoesOn) {
  std::vector<absl::StatusCode> told;
  options_.on_stall = [&](const absl::Status& reason) { told.push_back(reason.code()); };
  server_.faults.break_after_pieces = 0;
  server_.faults.breaks = 4;
  ASSERT_TRUE(PushCheckpoint(*client_, folder_.path(), options_).ok());
  EXPECT_THAT(told, ::testing::ElementsAre(absl::StatusCode::kUnavailable, absl::StatusCode::kOk));
}

TEST_F(PushTest, EveryCallSurvivesBreaks) {
  server_.faults.info_breaks = 2;
  server_.faults.finish_breaks = 2;
  server_.faults.model_breaks = 2;
  options_.max_reconnects = 2;
  options_.wait = true;
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->model.name(), "model");
}

TEST_F(PushTest, AModelThatIsStoredIsSaidToBe) {
  server_.faults.model_breaks = 1;
  options_.max_reconnects = 0;
  options_.wait = true;
  const absl::Status status = PushCheckpoint(*client_, folder_.path(), options_).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr("model model (id:model) is stored"));
}

TEST_F(PushTest, AServerThatIsGoneIsGivenUpLongBeforeTheCallsTimeout) {
  server_.faults.finish_breaks = 1;
  options_.max_reconnects = 1;
  options_.on_stall = [&](const absl::Status&) { server_.Stop(); };
  const absl::Time begin = absl::Now();
  const absl::Status status = PushCheckpoint(*client_, folder_.path(), options_).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_LT(absl::Now() - begin, options_.finish_timeout / 10);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("goes on with it"));
}

TEST_F(PushTest, TellsOfNoFurtherAttemptWhereThereIsNone) {
  server_.faults.finish_breaks = 1;
  options_.max_reconnects = 0;
  int told = 0;
  options_.on_stall = [&](const absl::Status&) { ++told; };
  const absl::Status status = PushCheckpoint(*client_, folder_.path(), options_).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(told, 0);
}

TEST_F(PushTest, SaysHowAnUploadThatIsLeftOpenGoesOn) {
  server_.faults.breaks = 1000;
  options_.max_reconnects = 0;
  const absl::Status status = PushCheckpoint(*client_, folder_.path(), options_).status();
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr("stays open; request id " + server_.start_request.request_id() +
                                   " goes on with it"));
}

TEST_F(PushTest, GivesUpWhenNothingGetsThrough) {
  server_.faults.break_after_pieces = 0;
  server_.faults.breaks = 1000;
  options_.max_reconnects = 3;
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  EXPECT_TRUE(absl::IsUnavailable(result.status())) << result.status();
  EXPECT_EQ(server_.write_streams, 4);
  EXPECT_EQ(server_.cancel_calls, 0) << "someone may go on with the upload";
}

TEST_F(PushTest, WhatIsExcludedStaysHere) {
  options_.exclude = {"sub/*"};
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  files_.erase("sub/b.bin");
  EXPECT_EQ(server_.uploaded, files_);
}

TEST_F(PushTest, AMalformedCheckpointIsRefusedBeforeAnythingIsSent) {
  const std::string header = R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";
  std::string shard(8, '\0');
  shard[0] = static_cast<char>(header.size());
  shard += header + "1234";
  const auto expect_refused = [&](const std::string& reason, const std::string& words) {
    const absl::Status status = PushCheckpoint(*client_, folder_.path(), options_).status();
    EXPECT_EQ(ErrorReason(status), reason) << status;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(words));
    EXPECT_EQ(server_.start_request.name(), "");
  };
  folder_.Write("sub/w.safetensors", shard.substr(0, shard.size() - 1));
  expect_refused("BAD_SAFETENSORS", "sub/w.safetensors: ");
  folder_.Write("sub/w.safetensors", "");
  expect_refused("BAD_SAFETENSORS", "sub/w.safetensors: ");
  folder_.Write("sub/w.safetensors", shard);
  folder_.Write("sub/m.safetensors.index.json", R"({"weight_map":{"t":"missing.safetensors"}})");
  expect_refused("BAD_INDEX", "missing.safetensors");
  folder_.Write("sub/m.safetensors.index.json", R"({"weight_map":{"t":"w.safetensors"}})");
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  EXPECT_TRUE(result.ok()) << result.status();
}

TEST_F(PushTest, GoesOnWithAnEarlierUpload) {
  server_.uploaded["a.bin"] = files_["a.bin"].substr(0, 300);
  options_.request_id = "mine";
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_.uploaded, files_);
  EXPECT_EQ(server_.received_bytes, 1477u);
  EXPECT_EQ(server_.start_request.request_id(), "mine");
}

TEST_F(PushTest, OtherContentUnderAnEarlierUploadIsDetected) {
  server_.uploaded["a.bin"] = std::string(300, 'x');
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  EXPECT_TRUE(absl::IsDataLoss(result.status())) << result.status();
  EXPECT_EQ(server_.cancel_calls, 1);
}

TEST_F(PushTest, WaitReportsAFailedJob) {
  options_.wait = true;
  server_.job_state = v1::Job::FAILED;
  int changes = 0;
  options_.on_job = [&](const v1::Job&) { ++changes; };
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  EXPECT_TRUE(absl::IsFailedPrecondition(result.status())) << result.status();
  EXPECT_EQ(ErrorReason(result.status()), "JOB_FAILED");
  EXPECT_THAT(std::string(result.status().message()), ::testing::HasSubstr("tensor a: shape"));
  EXPECT_EQ(changes, 2);
  EXPECT_EQ(server_.cancel_calls, 0);
}

TEST_F(PushTest, AnInterruptCancelsTheUpload) {
  Interrupt interrupt;
  options_.interrupt = &interrupt;
  options_.progress = [&](const Progress&) { interrupt.Trigger(); };
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  EXPECT_TRUE(absl::IsCancelled(result.status())) << result.status();
  EXPECT_EQ(ErrorReason(result.status()), "INTERRUPTED");
  EXPECT_THAT(std::string(result.status().message()), ::testing::HasSubstr("was cancelled"));
  EXPECT_EQ(server_.cancel_calls, 1);
}

TEST_F(PushTest, AnInterruptKeepsAnUploadThatHasARequestId) {
  Interrupt interrupt;
  options_.interrupt = &interrupt;
  options_.request_id = "mine";
  options_.progress = [&](const Progress&) { interrupt.Trigger(); };
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  EXPECT_THAT(std::string(result.status().message()),
              ::testing::HasSubstr("stays open; request id mine goes on with it"));
  EXPECT_EQ(server_.cancel_calls, 0);
}

TEST_F(PushTest, AnInterruptBeforeTheBeginningSendsNothing) {
  Interrupt interrupt;
  interrupt.Trigger();
  options_.interrupt = &interrupt;
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  EXPECT_EQ(ErrorReason(result.status()), "INTERRUPTED");
  EXPECT_EQ(server_.received_bytes, 0u);
}

TEST_F(PushTest, AnInterruptWhileWaitingLeavesTheJob) {
  Interrupt interrupt;
  options_.interrupt = &interrupt;
  options_.wait = true;
  server_.job_state = v1::Job::RUNNING;  // for ever
  options_.on_job = [&](const v1::Job&) { interrupt.Trigger(); };
  const auto result = PushCheckpoint(*client_, folder_.path(), options_);
  EXPECT_EQ(ErrorReason(result.status()), "INTERRUPTED");
  EXPECT_THAT(std::string(result.status().message()),
              ::testing::HasSubstr("is uploaded, its job job-1 goes on"));
  EXPECT_EQ(server_.cancel_calls, 0);
}

TEST_F(PushTest, ManyEntriesGoInSeveralMessages) {
  TempFolder folder;
  std::string deep;
  for (int i = 0; i < 4; ++i) deep += std::string(200, 'd') + "/";
  for (int i = 0; i < 1500; ++i) folder.Write(deep + std::to_string(i), "");
  const auto result = PushCheckpoint(*client_, folder.path(), options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_.uploaded.size(), 1500u);
  EXPECT_EQ(server_.write_streams, 0);
}

TEST_F(PushTest, DeltaIsOneEntry) {
  const std::string content = std::string("wdelta\0", 7) + Content(200, 'w');
  folder_.Write("x.wdelta", content);
  const auto result = PushDelta(*client_, folder_ / "x.wdelta", options_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_.uploaded.size(), 1u);
  EXPECT_EQ(server_.uploaded.begin()->second, content);
  EXPECT_EQ(server_.start_request.kind(), v1::WDELTA);
}

TEST_F(PushTest, WhatIsNoDeltaIsNotSent) {
  for (const std::string& content : {std::string(), std::string("wdel"), Content(200, 'w')}) {
    folder_.Write("x.wdelta", content);
    const absl::Status status = PushDelta(*client_, folder_ / "x.wdelta", options_).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_EQ(ErrorReason(status), "BAD_WDELTA");
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(folder_ / "x.wdelta"));
  }
  EXPECT_EQ(server_.start_calls, 0);
}

}  // namespace
}  // namespace wdelta

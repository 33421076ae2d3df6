#include "client/cpp/pull.h"

#include <atomic>
#include <filesystem>
#include <iterator>
#include <map>
#include <string>

#include "client/cpp/fetch_tensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "tests/client/pull_fixture.h"

namespace wdelta {
namespace {

using ::testing::ElementsAre;
using testing::PullTest;

TEST_F(PullTest, EveryFileComesBack) {
  Progress last;
  folder_.Write("out/config.json", "old and longer");
  ASSERT_TRUE(Pull({.progress = [&](const Progress& p) { last = p; }}).ok());
  EXPECT_EQ(folder_.Read("out/config.json"), "{}");
  EXPECT_TRUE(folder_.Has("out/empty"));
  EXPECT_EQ(folder_.Read("out/sub/w.safetensors"), content_);
  EXPECT_FALSE(folder_.Has("out/sub/" + PartName()));
  EXPECT_EQ(last.done_bytes, 952u);
  EXPECT_EQ(last.total_bytes, 952u);
}

TEST_F(PullTest, FilesAreChosenByPathOrPattern) {
  const auto pulled =
      PullModel(*client_, "m", folder_ / "out", {.paths = {"*.safetensors", "sub/*", "empty"}});
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_EQ(pulled->file_count, 2u);
  EXPECT_EQ(pulled->total_bytes, 950u);
  EXPECT_EQ(folder_.Read("out/sub/w.safetensors"), content_);
  EXPECT_FALSE(folder_.Has("out/config.json"));
  const absl::Status none = Pull({.paths = {"empty", "*.bin"}});
  EXPECT_EQ(ErrorReason(none), "FILE_NOT_FOUND") << none;
}

TEST_F(PullTest, AFolderInTheWayIsToldBeforeAnythingIsFetched) {
  folder_.Write("out/sub/w.safetensors/x", "x");
  const absl::Status status = Pull();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_TRUE(server_.fetch_offsets.empty());
  EXPECT_FALSE(folder_.Has("out/config.json"));
}

TEST_F(PullTest, FilesThatAreThereAreKept) {
  ASSERT_TRUE(Pull().ok());
  const size_t fetches = server_.fetch_offsets.size();
  const auto again = PullModel(*client_, "m", folder_ / "out");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->unchanged_count, 3u);
  EXPECT_EQ(again->received_bytes, 0u);
  EXPECT_EQ(server_.fetch_offsets.size(), fetches);
  folder_.Write("out/sub/w.safetensors", std::string(content_.size(), 'x'));
  ASSERT_TRUE(Pull().ok());
  EXPECT_EQ(folder_.Read("out/sub/w.safetensors"), content_);
}

TEST_F(PullTest, FilesOfAnEarlierPullAreLinked) {
  ASSERT_TRUE(Pull().ok());
  folder_.Write("out/config.json", "[]");
  const auto second = PullModel(*client_, "m", folder_ / "second", {.link_from = folder_ / "out"});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->linked_count, 2u);
  EXPECT_EQ(second->received_bytes, 2u);
  EXPECT_EQ(folder_.Read("second/config.json"), "{}");
  EXPECT_EQ(folder_.Read("out/config.json"), "[]");
  EXPECT_TRUE(std::filesystem::equivalent(folder_ / "second/sub/w.safetensors",
                                          folder_ / "out/sub/w.safetensors"));
}

TEST_F(PullTest, GoesOnAfterABrokenStream) {
  server_.faults.fetch_break_after_pieces = 3;
  server_.faults.fetch_breaks = 4;
  const auto result =
      PullModel(*client_, "m", folder_ / "out",
                {.paths = {"sub/w.safetensors"}, .max_reconnects = 1, .initial_backoff = {}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(folder_.Read("out/sub/w.safetensors"), content_);
  EXPECT_EQ(result->received_bytes, content_.size()) << "bytes were received twice";
  EXPECT_EQ(server_.fetch_offsets.size(), 4u);
  EXPECT_EQ(server_.fetch_offsets.back(), 900u);
}

TEST_F(PullTest, ALaterPullGoesOnWhereAnEarlierOneGaveUp) {
  server_.faults.fetch_break_after_pieces = 2;
  server_.faults.fetch_breaks = 1;
  const PullOptions once{.paths = {"sub/w.safetensors"}, .max_reconnects = 0};
  EXPECT_TRUE(absl::IsUnavailable(Pull(once)));
  EXPECT_FALSE(folder_.Has("out/sub/w.safetensors"));
  ASSERT_TRUE(Pull(once).ok());
  EXPECT_EQ(server_.fetch_offsets.back(), 200u);
  EXPECT_EQ(folder_.Read("out/sub/w.safetensors"), content_);
  const auto left = std::filesystem::directory_iterator(folder_ / "out/sub");
  EXPECT_EQ(std::distance(begin(left), end(left)), 1) << "a part was left";
}

TEST_F(PullTest, WhatHasComeIsKeptWhateverWentWrong) {
  const PullOptions once{.paths = {"sub/w.safetensors"}, .max_reconnects = 0};
  for (const auto code : {grpc::StatusCode::INTERNAL, grpc::StatusCode::CANCELLED,
                          grpc::StatusCode::DEADLINE_EXCEEDED, grpc::StatusCode::DATA_LOSS,
                          grpc::StatusCode::RESOURCE_EXHAUSTED}) {
    server_.faults.fetch_break_after_pieces = 2;
    server_.faults.fetch_breaks = 1;
    server_.faults.fetch_break_code = code;
    const absl::Status broken = Pull(once);
    EXPECT_EQ(static_cast<int>(broken.code()), static_cast<int>(code)) << broken;
    EXPECT_EQ(folder_.Read("out/sub/" + PartName()), content_.substr(0, 200)) << code;
    ASSERT_TRUE(Pull(once).ok()) << code;
    EXPECT_EQ(server_.fetch_offsets.back(), 200u) << code;
    EXPECT_EQ(folder_.Read("out/sub/w.safetensors"), content_) << code;
    std::filesystem::remove_all(folder_ / "out");
  }
}

// Damage that the server reports is not the part's: it is not fetched again and again.
TEST_F(PullTest, AResumedFetchEndsWithTheServersError) {
  server_.faults.fetch_break_after_pieces = 1;
  server_.faults.fetch_breaks = 2;
  server_.faults.fetch_break_code = grpc::StatusCode::DATA_LOSS;
  const PullOptions once{.paths = {"sub/w.safetensors"}};
  EXPECT_TRUE(absl::IsDataLoss(Pull(once)));
  EXPECT_TRUE(absl::IsDataLoss(Pull(once)));
  EXPECT_EQ(server_.fetch_offsets.size(), 2u);
  EXPECT_EQ(folder_.Read("out/sub/" + PartName()), content_.substr(0, 200));
}

TEST_F(PullTest, AModelThatWasDeletedMeanwhileIsSaidToBe) {
  server_.faults.is_deleted = true;
  const absl::Status status = Pull();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_EQ(ErrorReason(status), "MODEL_NOT_FOUND");
  EXPECT_EQ(status.message(),
            "model m was there at the beginning, and was deleted meanwhile: no model 'id:m'");
}

TEST_F(PullTest, AFileThatIsNamedTwiceComesOnce) {
  const auto pulled = PullModel(*client_, "m", folder_ / "out",
                                {.paths = {"config.json", "config.json", "config.json"}});
  ASSERT_TRUE(pulled.ok()) << pulled.status();
  EXPECT_EQ(pulled->file_count, 1u);
}

// Bytes of both in one part would be taken for a whole file.
TEST_F(PullTest, TwoPullsAtOnceDoNotWriteOneFile) {
  const std::unique_ptr<Client> other = server_.NewClient();
  absl::Status second;
  const auto pull_too = [&](const Progress& progress) {
    if (progress.done_bytes > 300 || progress.path != "sub/w.safetensors") return;
    second = PullModel(*other, "m", folder_ / "out", {.paths = {"sub/w.safetensors"}}).status();
  };
  ASSERT_TRUE(Pull({.verify = Verify::kChecksum, .progress = pull_too}).ok());
  EXPECT_TRUE(absl::IsAborted(second)) << second;
  EXPECT_EQ(ErrorReason(second), "PART_IN_USE");
  EXPECT_EQ(folder_.Read("out/sub/w.safetensors"), content_);
  const auto left = std::filesystem::directory_iterator(folder_ / "out/sub");
  EXPECT_EQ(std::distance(begin(left), end(left)), 1) << "a part was left";
}

class PullOfManyTest : public PullTest {
 protected:
  PullOfManyTest() {
    for (int i = 0; i < 40; ++i) {
      files_["part-" + std::to_string(i)] = content_.substr(i * 20) + std::to_string(i);
      total_bytes_ += files_["part-" + std::to_string(i)].size();
    }
    server_.AddModel("m", files_);
  }

  std::map<std::string, std::string> files_;
  uint64_t total_bytes_ = 0;
};

TEST_F(PullOfManyTest, FilesComeSeveralAtOnce) {
  for (const uint32_t jobs : {1, 2, 4, 100}) {
    Progress last;
    bool is_at_once = false;
    std::atomic<int> callers = 0;
    const auto take = [&](const Progress& progress) {
      is_at_once = is_at_once || ++callers > 1;
      last = progress;
      --callers;
    };
    server_.fetch_offsets.clear();
    server_.faults.fetches_at_once = std::min<size_t>(jobs, 4);
    const std::string folder = folder_ / ("out" + std::to_string(jobs));
    const auto result = PullModel(*client_, "m", folder, {.jobs = jobs, .progress = take});
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->file_count, files_.size());
    EXPECT_EQ(result->received_bytes, total_bytes_);
    EXPECT_EQ(last.done_bytes, total_bytes_);
    EXPECT_EQ(last.total_bytes, total_bytes_);
    EXPECT_FALSE(server_.waited_in_vain) << "one came after the other";
    EXPECT_FALSE(is_at_once) << "two calls of the callback at once";
    for (const auto& [path, content] : files_) {
      EXPECT_EQ(folder_.Read("out" + std::to_string(jobs) + "/" + path), content) << path;
    }
  }
}

TEST_F(PullOfManyTest, TheFirstErrorEndsAllAndKeepsTheParts) {
  server_.faults.fetch_break_after_pieces = 1;
  server_.faults.fetch_breaks = 1;
  server_.faults.fetch_break_code = grpc::StatusCode::INTERNAL;
  const absl::Status status = Pull({.jobs = 3});
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_LT(server_.FetchCount(), files_.size());
  size_t parts = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "out")) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".wdelta-part")) ++parts;
    if (name.starts_with(".")) continue;
    EXPECT_EQ(folder_.Read("out/" + name), files_.at(name));
  }
  EXPECT_GE(parts, 1u);
  EXPECT_LE(parts, 3u);
  const auto again = PullModel(*client_, "m", folder_ / "out");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_LE(again->received_bytes, total_bytes_ - FakeServer::kServedPieceBytes);
  for (const auto& [path, content] : files_) EXPECT_EQ(folder_.Read("out/" + path), content);
}

TEST_F(PullOfManyTest, BrokenStreamsAreMendedOneByOne) {
  server_.faults.fetch_break_after_pieces = 2;
  server_.faults.fetch_breaks = 60;
  const auto result =
      PullModel(*client_, "m", folder_ / "out", {.max_reconnects = 100, .initial_backoff = {}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->received_bytes, total_bytes_) << "bytes were received twice";
  for (const auto& [path, content] : files_) EXPECT_EQ(folder_.Read("out/" + path), content);
}

TEST_F(PullTest, WhatWasLeftIsNotTrusted) {
  folder_.Write("out/sub/" + PartName(), std::string(300, 'x'));
  ASSERT_TRUE(Pull({.verify = Verify::kChecksum}).ok());
  EXPECT_EQ(folder_.Read("out/sub/w.safetensors"), content_);
  EXPECT_EQ(server_.fetch_offsets.back(), 0u);
  for (const size_t size : {content_.size(), content_.size() + 1}) {
    std::filesystem::remove(folder_ / "out/sub/w.safetensors");
    folder_.Write("out/sub/" + PartName(), std::string(size, 'x'));
    ASSERT_TRUE(Pull().ok());
    EXPECT_EQ(folder_.Read("out/sub/w.safetensors"), content_);
  }
}

TEST_F(PullTest, OnlyTheFilesAskedFor) {
  ASSERT_TRUE(Pull({.paths = {"config.json"}}).ok());
  EXPECT_TRUE(folder_.Has("out/config.json"));
  EXPECT_FALSE(folder_.Has("out/sub"));
  const absl::Status status = Pull({.paths = {"no.json"}});
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_EQ(ErrorReason(status), "FILE_NOT_FOUND");
}

TEST_F(PullTest, BadCrcIsDetected) {
  server_.faults.bad_crc = true;
  ExpectLossAndNoFile(Pull({.verify = Verify::kChecksum}), "PIECE_CRC_MISMATCH");
}

TEST_F(PullTest, WrongSha256IsDetected) {
  server_.faults.bad_content = true;
  const PullOptions only_weights{.paths = {"sub/w.safetensors"}};
  ExpectLossAndNoFile(Pull(only_weights), "SHA256_MISMATCH");
}

TEST_F(PullTest, ChecksumModeTrustsTheServersContent) {
  server_.faults.bad_content = true;
  EXPECT_TRUE(Pull({.paths = {"sub/w.safetensors"}, .verify = Verify::kChecksum}).ok());
}

TEST_F(PullTest, MissingTrailerIsDetected) {
  server_.faults.no_trailer = true;
  const absl::Status status = Pull({.paths = {"sub/w.safetensors"}});
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_EQ(ErrorReason(status), "TRUNCATED_STREAM");
  EXPECT_FALSE(folder_.Has("out/sub/w.safetensors"));
  EXPECT_EQ(folder_.Read("out/sub/" + PartName()), content_) << "what came is not kept";
  server_.faults = {};
  ASSERT_TRUE(Pull().ok());
  EXPECT_EQ(folder_.Read("out/sub/w.safetensors"), content_);
}

TEST_F(PullTest, MissingPieceIsDetected) {
  server_.faults.gap = true;
  ExpectLossAndNoFile(Pull(), "PIECE_OUT_OF_PLACE");
}

TEST_F(PullTest, BytesAfterTheTrailerAreDetected) {
  server_.faults.more_after_trailer = true;
  ExpectLossAndNoFile(Pull({.paths = {"sub/w.safetensors"}}), "PIECE_OUT_OF_PLACE");
}

TEST_F(PullTest, PathsThatLeaveTheFolderAreRefusedBeforeAnythingIsWritten) {
  for (const std::string path :
       {"../evil", "/tmp/wdelta-evil", "a/../../evil", "a//b", "..", "sub/.x.wdelta-part"}) {
    server_.AddModel("m", {{"a", "first"}, {path, "evil"}});
    const absl::Status status = Pull();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << path << ": " << status;
    EXPECT_EQ(ErrorReason(status), "BAD_PATH") << path;
    EXPECT_EQ(folder_.EntryCount(), 0u) << path;
  }
}

TEST_F(PullTest, DiskErrorIsReported) {
  folder_.Write("out", "a file where the folder should be");
  const absl::Status status = Pull();
  EXPECT_EQ(ErrorReason(status), "LOCAL_FILE") << status;
  EXPECT_THAT(std::string(status.message()),
              ::testing::AllOf(::testing::HasSubstr(folder_ / "out"),
                               ::testing::HasSubstr("Not a directory")));
}

TEST_F(PullTest, ExportNeedsAReadyModel) {
  const absl::Status status = ExportDelta(*client_, "m", folder_ / "m.wdelta").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_FALSE(folder_.Has("m.wdelta"));
}

TEST_F(PullTest, TensorsAreStreamedAndChecked) {
  std::map<std::string, std::string> tensors;
  std::string name;
  int ended = 0;
  const TensorSink sink{.on_tensor =
                            [&](const v1::TensorHeader& header) {
                              tensors[name = header.name()];
                              return absl::OkStatus();
                            },
                        .on_bytes =
                            [&](absl::string_view data) {
                              tensors[name].append(data.data(), data.size());
                              return absl::OkStatus();
                            },
                        .on_end =
                            [&] {
                              ++ended;
                              return absl::OkStatus();
                            }};
  ASSERT_TRUE(FetchTensors(*client_, "m", {}, sink).ok());
  EXPECT_EQ(tensors["sub/w.safetensors"], content_);
  EXPECT_EQ(ended, 3);

  server_.faults.bad_crc = true;
  EXPECT_EQ(ErrorReason(FetchTensors(*client_, "m", {}, sink)), "PIECE_CRC_MISMATCH");
  server_.faults = {};
  server_.faults.no_trailer = true;
  EXPECT_TRUE(absl::IsDataLoss(FetchTensors(*client_, "m", {}, sink)));

  server_.faults = {};
  const TensorSink refusing{
      .on_bytes = [](absl::string_view) { return absl::CancelledError("enough"); }};
  EXPECT_TRUE(absl::IsCancelled(FetchTensors(*client_, "m", {}, refusing)));
}

}  // namespace
}  // namespace wdelta

// Tensors over connections that break, and into files.
#include "client/cpp/fetch_tensors.h"

#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "client/cpp/fetch_to_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/tensor/safetensors.h"
#include "tests/client/fake_server.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FetchTensorsTest : public ::testing::Test {
 protected:
  FetchTensorsTest() : client_(server_.NewClient()) {
    for (int i = 0; i < 350; ++i) content_ += static_cast<char>(i * 17);
    server_.AddModel("m", {{"a", content_}, {"empty", ""}, {"z", "last"}});
    options_.initial_backoff = absl::ZeroDuration();
  }

  // What the sink saw: tensors in order, and their bytes.
  absl::Status Fetch(const v1::FetchTensorsRequest& request) {
    names_.clear();
    bytes_.clear();
    ended_ = 0;
    const TensorSink sink{.on_tensor =
                              [this](const v1::TensorHeader& header) {
                                names_.push_back(header.name());
                                return absl::OkStatus();
                              },
                          .on_bytes =
                              [this](absl::string_view data) {
                                bytes_[names_.back()].append(data.data(), data.size());
                                return absl::OkStatus();
                              },
                          .on_end =
                              [this] {
                                ++ended_;
                                return absl::OkStatus();
                              }};
    return FetchTensors(*client_, request, sink, options_);
  }
  static v1::FetchTensorsRequest Model() {
    v1::FetchTensorsRequest request;
    request.set_model("m");
    return request;
  }
  void ExpectAll() {
    EXPECT_THAT(names_, ElementsAre("a", "empty", "z"));
    EXPECT_TRUE(bytes_["a"] == content_);
    EXPECT_EQ(bytes_["z"], "last");
    EXPECT_EQ(ended_, 3);
  }

  FakeServer server_;
  const std::unique_ptr<Client> client_;
  const TempFolder folder_;
  std::string content_;
  FetchTensorsOptions options_;
  std::vector<std::string> names_;
  std::map<std::string, std::string> bytes_;
  int ended_ = 0;
};

// A header, four pieces and a trailer; a header and a trailer; a header, a piece and a trailer.
constexpr int kMessages = 6 + 2 + 3;

TEST_F(FetchTensorsTest, GoesOnAfterABreakAtAnyMessage) {
  for (int messages = 0; messages <= kMessages; ++messages) {
    SCOPED_TRACE(messages);
    server_.faults.tensor_break_after_messages = messages;
    server_.faults.tensor_breaks = 1;
    server_.tensor_requests.clear();
    const absl::Status status = Fetch(Model());
    ASSERT_TRUE(status.ok()) << status;
    ExpectAll();
    ASSERT_EQ(server_.tensor_requests.size(), 2u);
    EXPECT_EQ(server_.tensor_requests[1].model(), "id:m") << "by id, whatever becomes of the name";
  }
  server_.faults.tensor_break_after_messages = 3;
  server_.faults.tensor_breaks = 1;
  server_.tensor_requests.clear();
  ASSERT_TRUE(Fetch(Model()).ok());
  EXPECT_EQ(server_.tensor_requests[1].first_tensor(), 0u);
  EXPECT_EQ(server_.tensor_requests[1].first_tensor_offset(), 2 * FakeServer::kServedPieceBytes);
}

TEST_F(FetchTensorsTest, SurvivesManyBreaksThatEachBringSomething) {
  options_.max_reconnects = 1;
  // A header and a piece each time.
  server_.faults.tensor_break_after_messages = 2;
  server_.faults.tensor_breaks = 5;
  const absl::Status status = Fetch(Model());
  ASSERT_TRUE(status.ok()) << status;
  ExpectAll();
}

TEST_F(FetchTensorsTest, GivesUpWhereNothingComes) {
  options_.max_reconnects = 3;
  server_.faults.tensor_breaks = 100;
  EXPECT_TRUE(absl::IsUnavailable(Fetch(Model())));
  EXPECT_EQ(server_.tensor_requests.size(), 4u);
}

TEST_F(FetchTensorsTest, GivesUpWhereOnlyHeadersCome) {
  options_.max_reconnects = 3;
  server_.faults.tensor_break_after_messages = 1;
  server_.faults.tensor_breaks = 100;
  EXPECT_TRUE(absl::IsUnavailable(Fetch(Model())));
  EXPECT_EQ(server_.tensor_requests.size(), 4u);
}

TEST_F(FetchTensorsTest, AnEmptyTensorThatEndsIsProgress) {
  server_.AddModel("empties", {{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}});
  options_.max_reconnects = 1;
  // A header and a trailer each time.
  server_.faults.tensor_break_after_messages = 2;
  server_.faults.tensor_breaks = 3;
  v1::FetchTensorsRequest request;
  request.set_model("empties");
  const absl::Status status = Fetch(request);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(ended_, 4);
}

TEST_F(FetchTensorsTest, WaitsForABusyServer) {
  server_.faults.fetches_refused = 20;
  ASSERT_TRUE(Fetch(Model()).ok());
  ExpectAll();
}

TEST_F(FetchTensorsTest, TellsThatItStandsStillAndGoesOn) {
  std::vector<absl::StatusCode> told;
  options_.on_stall = [&](const absl::Status& reason) { told.push_back(reason.code()); };
  server_.faults.tensor_break_after_messages = 1;
  server_.faults.tensor_breaks = 4;
  ASSERT_TRUE(Fetch(Model()).ok());
  EXPECT_THAT(told, ElementsAre(absl::StatusCode::kUnavailable, absl::StatusCode::kOk));
}

TEST_F(FetchTensorsTest, AModelThatWasDeletedMeanwhileIsSaidToBe) {
  server_.faults.is_deleted = true;
  const absl::Status status = FetchToFile(*client_, "m", folder_ / "out").status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("model m was there at the beginning, and"));
  EXPECT_EQ(folder_.EntryCount(), 0u);
}

TEST_F(FetchTensorsTest, AnotherTensorAfterABreakIsDetected) {
  server_.faults.other_tensor_on_resume = true;
  server_.faults.tensor_break_after_messages = 3;
  server_.faults.tensor_breaks = 1;
  EXPECT_EQ(ErrorReason(Fetch(Model())), "TENSOR_CHANGED");
}

TEST_F(FetchTensorsTest, TheErrorOfTheSinkIsNoBrokenConnection) {
  const TensorSink refusing{
      .on_bytes = [](absl::string_view) { return absl::UnavailableError("the sink's own"); }};
  EXPECT_TRUE(absl::IsUnavailable(FetchTensors(*client_, Model(), refusing, options_)));
  EXPECT_EQ(server_.tensor_requests.size(), 1u);
}

TEST_F(FetchTensorsTest, GoesOnWhereItsCallerWas) {
  v1::FetchTensorsRequest request = Model();
  request.set_first_tensor(0);
  request.set_first_tensor_offset(30);
  server_.faults.tensor_break_after_messages = 2;
  server_.faults.tensor_breaks = 1;
  const absl::Status status = Fetch(request);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(bytes_["a"] == content_.substr(30));
}

TEST_F(FetchTensorsTest, IntoAFile) {
  server_.faults.tensor_break_after_messages = 4;
  server_.faults.tensor_breaks = 1;
  FetchToFileOptions options{.fetch = options_};
  const std::string name = folder_ / "sub/out.safetensors";
  const absl::StatusOr<FetchToFileResult> result = FetchToFile(*client_, "m", name, options);
  ASSERT_TRUE(result.ok()) << result.status();
  const std::string file = folder_.Read("sub/out.safetensors");
  EXPECT_EQ(result->file_bytes, file.size());
  const auto files = NewPosixFileSystem();
  const absl::StatusOr<SafetensorsLayout> layout =
      ReadSafetensorsLayout(**files->OpenForRead(name));
  ASSERT_TRUE(layout.ok()) << layout.status();
  ASSERT_EQ(layout->tensors.size(), 3u);
  EXPECT_TRUE(absl::EndsWith(file, content_ + "last"));
  EXPECT_THAT(layout->metadata,
              ElementsAre(std::pair("format", "pt"), std::pair("wdelta.model", "id:m")));
}

TEST_F(FetchTensorsTest, NoFileIsLeftAfterAnError) {
  const auto expect = [&](const FetchToFileOptions& options, const std::string& reason,
                          const std::string& words) {
    const absl::Status status = FetchToFile(*client_, "m", folder_ / "out", options).status();
    EXPECT_EQ(ErrorReason(status), reason) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    EXPECT_EQ(folder_.EntryCount(), 0u) << reason;
  };
  expect({.name_patterns = {"none"}}, "NO_TENSOR_MATCHES", "has no tensor that matches");
  expect({.slices = {{"a", 1, AxisRange{0, 1}}}}, "BAD_SLICE", "tensor 'a'");
  expect({.slices = {{"a", 0, AxisRange{3, 1}}}}, "BAD_SLICE", "stop of at least the start 3");
  // This server knows no slices.
  expect({.slices = {{"a", 0, AxisRange{0, 7}}}}, "UNEXPECTED_TENSOR",
         "tensor a: expected a of 7 bytes, found 350 bytes");
  server_.faults.bad_crc = true;
  expect({}, "PIECE_CRC_MISMATCH", "tensor a");
  server_.faults = {};
  server_.faults.bad_content = true;
  expect({}, "SHA256_MISMATCH", "tensor a");
}

}  // namespace
}  // namespace wdelta

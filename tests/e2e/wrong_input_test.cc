// What is wrong gets its own clear error, and nothing that is stored is harmed.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/rpc_status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "tests/e2e/daemon.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/temp_folder.h"
#include "wdelta/v1/uploads.grpc.pb.h"

namespace wdelta::testing {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A safetensors file with this header, then `data_bytes` zeros.
std::string Safetensors(const std::string& header, uint64_t data_bytes) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(uint64_t{header.size()} >> 8 * i));
  return bytes + header + std::string(data_bytes, '\0');
}

std::string TwoTensors(const std::string& first, const std::string& second, uint64_t data_bytes) {
  return Safetensors(
      absl::StrCat(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)", first,
                   R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)", second, "}}"),
      data_bytes);
}

struct WrongFile {
  const char* label;
  std::string bytes;  // of model.safetensors
  std::string message;
};

std::vector<WrongFile> WrongFiles() {
  const std::string good = SmallCheckpoint(1).at("model.safetensors");
  return {
      {"truncated", good.substr(0, good.size() - 1), "expected an end of at most"},
      {"cut in the header", good.substr(0, 100), "header length: expected at most"},
      {"too long", good + "x", "expected tensors of"},
      {"no length", "1234567", "header length: expected 8 bytes, found 7"},
      {"huge length", std::string(16, '\xff'), "header length: expected at most"},
      {"no JSON", Safetensors("{broken", 0), "expected JSON, found at byte"},
      {"overlap", TwoTensors("[0,4]", "[3,7]", 7), "expected to begin at 4, found 3 (overlap)"},
      {"hole", TwoTensors("[0,4]", "[5,9]", 9), "expected to begin at 4, found 5 (hole)"},
      {"wrong dtype", Safetensors(R"({"t":{"dtype":"Q4_0","shape":[4],"data_offsets":[0,4]}})", 4),
       "tensor 't': dtype: expected one of"},
      {"not UTF-8",
       Safetensors("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4),
       "ill-formed UTF-8"},
      {"shape overflow",
       Safetensors(R"({"t":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,4]}})",
                   4),
       "shape [4294967296,4294967296]: expected a number of elements of at most"},
  };
}

class WrongInputTest : public ::testing::Test {
 protected:
  WrongInputTest() : daemon_(folder_ / "data") {
    for (const auto& [path, bytes] : good_) folder_.Write("good/" + path, bytes);
    daemon_.WdeltaOk({"push", folder_ / "good", "--name", "good", "--wait"});
  }

  // After whatever went wrong: the daemon runs, what it has is whole, nothing of what
  // was refused is kept.
  void TearDown() override {
    daemon_.WdeltaOk({"pull", "good", folder_ / "copy"});
    for (const auto& [path, bytes] : good_) {
      EXPECT_TRUE(folder_.Read("copy/" + path) == bytes) << path;
    }
    EXPECT_THAT(daemon_.WdeltaOk({"ls", "--output", "json"}),
                AllOf(HasSubstr(R"("name": "good")"), Not(HasSubstr(R"("name": "bad"))"))));
    EXPECT_EQ(daemon_.Stop(), 0) << daemon_.process().output();
    EXPECT_TRUE(std::filesystem::is_empty(folder_ / "data/staging"));
  }

  // One line on stderr, nothing on stdout.
  static void ExpectError(const CommandResult& result, int exit_code, const std::string& command,
                          const std::string& message, const std::string& reason) {
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err,
                AllOf(StartsWith(absl::StrCat("wdelta: ", command, ": ")), HasSubstr(message),
                      EndsWith(absl::StrCat(reason.empty() ? "" : " [" + reason + "]", "\n"))));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }

  CommandResult PushBad(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"push", folder_ / "bad", "--name", "bad"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return daemon_.Wdelta(arguments);
  }

  const TempFolder folder_;
  const TestFiles good_ = SmallCheckpoint(1);
  Daemon daemon_;
};

TEST_F(WrongInputTest, MalformedSafetensors) {
  for (const WrongFile& wrong : WrongFiles()) {
    SCOPED_TRACE(wrong.label);
    folder_.Write("bad/model.safetensors", wrong.bytes);
    const CommandResult result = PushBad();
    ExpectError(result, 5, "push", wrong.message, "BAD_SAFETENSORS");
    EXPECT_THAT(result.err, HasSubstr("model.safetensors"));
  }
}

TEST_F(WrongInputTest, AHeaderOfMoreThanOneHundredMegabytes) {
  const uint64_t header_bytes = limits::kMaxSafetensorsHeaderBytes + 1;
  std::string length;
  for (int i = 0; i < 8; ++i) length.push_back(static_cast<char>(header_bytes >> 8 * i));
  folder_.Write("bad/model.safetensors", length);
  std::filesystem::resize_file(folder_ / "bad/model.safetensors", 8 + header_bytes);  // sparse
  ExpectError(PushBad(), 5, "push", "header length: expected at most 100000000", "BAD_SAFETENSORS");
}

TEST_F(WrongInputTest, NamesParentsAndFolders) {
  folder_.Write("bad/config.json", "{}");
  ExpectError(PushBad({"--parent", "nobody"}), 3, "push", "nobody", "MODEL_NOT_FOUND");
  ExpectError(PushBad({"--parent", "good", "--parent", "good"}), 5, "push", "named twice",
              "PARENT_TWICE");
  ExpectError(daemon_.Wdelta({"push", folder_ / "bad", "--name", "good"}), 4, "push",
              "model name 'good' is taken", "NAME_TAKEN");
  ExpectError(daemon_.Wdelta({"push", folder_ / "bad", "--name", "../bad"}), 5, "push", "../bad",
              "BAD_NAME");
  ExpectError(daemon_.Wdelta({"push", folder_ / "absent", "--name", "bad"}), 3, "push",
              folder_ / "absent", "");
  ExpectError(daemon_.Wdelta({"pull", "nobody", folder_ / "x"}), 3, "pull", "nobody",
              "MODEL_NOT_FOUND");
  ExpectError(daemon_.Wdelta({"push"}), 2, "usage", "", "");
  ExpectError(RunCommand({WDELTA_FILE, "--server=127.0.0.1:1", "ls"}), 6, "ls", "127.0.0.1:1", "");
}

TEST_F(WrongInputTest, AnIndexThatNamesAShardThatIsNotThere) {
  folder_.Write("bad/model.safetensors.index.json",
                R"({"metadata":{},"weight_map":{"t":"model-00001-of-00001.safetensors"}})");
  ExpectError(PushBad(), 5, "push", "model-00001-of-00001.safetensors", "BAD_INDEX");
}

TEST_F(WrongInputTest, ImportOfWhatIsNoDelta) {
  folder_.Write("bad.wdelta", std::string(1000, 'w'));
  ExpectError(daemon_.Wdelta({"import", folder_ / "bad.wdelta", "--name", "bad"}), 5, "import",
              "magic", "BAD_WDELTA");
  ExpectError(daemon_.Wdelta({"inspect", folder_ / "bad.wdelta"}), 5, "inspect", "magic",
              "BAD_WDELTA");
  // What was one is damaged.
  daemon_.WdeltaOk({"export", "good", folder_ / "good.wdelta"});
  const std::string good = folder_.Read("good.wdelta");
  folder_.Write("bad.wdelta", good.substr(0, good.size() - 1));
  ExpectError(daemon_.Wdelta({"import", folder_ / "bad.wdelta", "--name", "bad"}), 7, "import", "",
              "BAD_WDELTA");
  ExpectError(daemon_.Wdelta({"inspect", folder_ / "bad.wdelta"}), 7, "inspect",
              folder_ / "bad.wdelta", "BAD_WDELTA");
}

TEST_F(WrongInputTest, FilesThatCannotBeWrittenOrRead) {
  folder_.Write("in the way", "a file");
  ExpectError(daemon_.Wdelta({"pull", "good", folder_ / "in the way/out"}), 10, "pull",
              "in the way/out: Not a directory", "LOCAL_FILE");
  ExpectError(daemon_.Wdelta({"export", "good", folder_ / "in the way/out"}), 10, "export",
              "in the way: Not a directory", "LOCAL_FILE");
  ExpectError(daemon_.Wdelta({"ls", "--token-file", folder_.path()}), 10, "ls",
              absl::StrCat("--token-file: ", folder_.path()), "LOCAL_FILE");
}

// What the command line never sends.
class WrongPieceTest : public WrongInputTest {
 protected:
  WrongPieceTest() : uploads_(v1::Uploads::NewStub(daemon_.NewChannel())) {
    grpc::ClientContext context;
    v1::StartUploadRequest request;
    request.set_name("bad");
    EXPECT_TRUE(uploads_->StartUpload(&context, request, &upload_).ok());
    EXPECT_TRUE(Declare("weights.bin", 10).ok());
  }

  void TearDown() override {
    v1::CancelUploadRequest request;
    request.set_upload(upload_.id());
    google::protobuf::Empty nothing;
    grpc::ClientContext context;
    EXPECT_TRUE(uploads_->CancelUpload(&context, request, &nothing).ok());
    WrongInputTest::TearDown();
  }

  absl::Status Declare(const std::string& path, uint64_t size_bytes) {
    v1::AddEntriesRequest request;
    request.set_upload(upload_.id());
    v1::Entry& entry = *request.add_entries();
    entry.set_path(path);
    entry.set_size_bytes(size_bytes);
    v1::Upload upload;
    grpc::ClientContext context;
    return FromGrpcStatus(uploads_->AddEntries(&context, request, &upload));
  }

  v1::WriteEntriesRequest Piece(uint64_t offset, const std::string& data) const {
    v1::WriteEntriesRequest piece;
    piece.set_upload(upload_.id());
    piece.set_path("weights.bin");
    piece.set_offset(offset);
    piece.set_data(data);
    piece.set_crc32c(Crc32c(data));
    return piece;
  }

  absl::Status Write(const v1::WriteEntriesRequest& piece) {
    v1::WriteEntriesResponse response;
    grpc::ClientContext context;
    const auto writer = uploads_->WriteEntries(&context, &response);
    writer->Write(piece);
    writer->WritesDone();
    return FromGrpcStatus(writer->Finish());
  }

  static void Expect(const absl::Status& status, absl::StatusCode code, const std::string& reason,
                     const std::string& message) {
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_EQ(ErrorReason(status), reason);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
  }

  const std::unique_ptr<v1::Uploads::Stub> uploads_;
  v1::Upload upload_;
};

TEST_F(WrongPieceTest, IsRefusedAndTheUploadGoesOn) {
  using Code = absl::StatusCode;
  for (const char* path : {"../etc/passwd", "a/../../b", "/etc/passwd", "a//b"}) {
    Expect(Declare(path, 1), Code::kInvalidArgument, "BAD_PATH", "expected");
  }
  Expect(Declare("weights.bin", 11), Code::kAlreadyExists, "ENTRY_EXISTS", "10 bytes");
  Expect(Declare("huge.bin", limits::kMaxFileBytes + 1), Code::kResourceExhausted, "FILE_TOO_LARGE",
         "huge.bin");

  ASSERT_TRUE(Write(Piece(0, "01234")).ok());
  Expect(Write(Piece(0, "01234")), Code::kOutOfRange, "WRONG_OFFSET", "expected offset 5, found 0");
  Expect(Write(Piece(6, "6")), Code::kOutOfRange, "WRONG_OFFSET", "expected offset 5, found 6");
  Expect(Write(Piece(5, "567890")), Code::kInvalidArgument, "PAST_END",
         "expected at most 5 more bytes, found 6");
  Expect(Write(Piece(5, std::string(limits::kMaxPieceBytes + 1, 'x'))), Code::kInvalidArgument,
         "PIECE_TOO_LARGE", "expected at most 2097152 bytes, found 2097153");
  // Larger than any message may be: gRPC itself refuses.
  EXPECT_TRUE(
      absl::IsResourceExhausted(Write(Piece(5, std::string(limits::kMaxMessageBytes + 1, 'x')))));
  v1::WriteEntriesRequest damaged = Piece(5, "56789");
  damaged.set_crc32c(damaged.crc32c() ^ 1);
  Expect(Write(damaged), Code::kDataLoss, "BAD_CRC", "piece at offset 5: expected crc32c");
  v1::WriteEntriesRequest stray = Piece(0, "x");
  stray.set_path("other.bin");
  Expect(Write(stray), Code::kNotFound, "ENTRY_NOT_FOUND", "other.bin");

  EXPECT_TRUE(Write(Piece(5, "56789")).ok());
}

}  // namespace
}  // namespace wdelta::testing

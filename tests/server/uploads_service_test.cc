#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "storage/base/digest.h"
#include "storage/base/limits.h"
#include "tests/server/test_server.h"
#include "tests/support/fault_file_system.h"

namespace wdelta::testing {
namespace {

constexpr char kPath[] = "model.safetensors";

class UploadsServiceTest : public ::testing::Test {
 protected:
  static v1::StartUploadRequest Named(const std::string& name) {
    v1::StartUploadRequest request;
    request.set_name(name);
    return request;
  }
  static v1::WriteEntriesRequest Piece(const std::string& upload, uint64_t offset,
                                       const std::string& data) {
    v1::WriteEntriesRequest piece;
    piece.set_upload(upload);
    piece.set_path(kPath);
    piece.set_offset(offset);
    piece.set_data(data);
    piece.set_crc32c(Crc32c(data));
    return piece;
  }
  std::string Start(const v1::StartUploadRequest& request, v1::Upload* upload) {
    grpc::ClientContext context;
    return CodeAndReason(server_.uploads->StartUpload(&context, request, upload));
  }
  std::string AddEntry(const std::string& upload, const std::string& path, uint64_t size_bytes) {
    v1::AddEntriesRequest request;
    request.set_upload(upload);
    request.add_entries()->set_path(path);
    request.mutable_entries(0)->set_size_bytes(size_bytes);
    v1::Upload response;
    grpc::ClientContext context;
    return CodeAndReason(server_.uploads->AddEntries(&context, request, &response));
  }
  v1::Upload Get(const std::string& id) {
    v1::GetUploadRequest request;
    request.set_upload(id);
    v1::Upload upload;
    grpc::ClientContext context;
    EXPECT_TRUE(server_.uploads->GetUpload(&context, request, &upload).ok());
    return upload;
  }

  TestServer server_;
};

TEST_F(UploadsServiceTest, CopiesMustNameContentThatIsThere) {
  const std::string id = server_.Open(Named("m"), {{kPath, "0123456789"}});
  const auto write_copy = [&](const std::string& sha256, const std::string& data) {
    v1::WriteEntriesRequest piece = Piece(id, 0, data);
    piece.mutable_copy()->set_sha256(sha256);
    piece.mutable_copy()->set_size_bytes(10);
    return CodeAndReason(server_.Write({piece}));
  };
  const std::string unknown = Digest::Of("unknown").ToHex();
  EXPECT_EQ(write_copy(unknown, "0123"), "INVALID_ARGUMENT DATA_AND_COPY");
  EXPECT_EQ(write_copy("abc", ""), "INVALID_ARGUMENT BAD_DIGEST");
  EXPECT_EQ(write_copy(unknown, ""), "NOT_FOUND CONTENT_NOT_FOUND");

  v1::FindContentRequest request;
  request.set_upload(id);
  request.add_contents()->set_sha256(unknown);
  v1::FindContentResponse response;
  grpc::ClientContext context;
  EXPECT_EQ(CodeAndReason(server_.uploads->FindContent(&context, request, &response)), "OK");
  EXPECT_EQ(response.found_size(), 0);
  request.add_contents()->set_sha256("x");
  grpc::ClientContext second;
  EXPECT_EQ(CodeAndReason(server_.uploads->FindContent(&second, request, &response)),
            "INVALID_ARGUMENT BAD_DIGEST");
}

TEST_F(UploadsServiceTest, AnUploadKeepsOutOfTheMetadataOfMerges) {
  v1::StartUploadRequest request = Named("m");
  (*request.mutable_metadata())["merge.method"] = "ties";
  v1::Upload upload;
  EXPECT_EQ(Start(request, &upload), "INVALID_ARGUMENT BAD_METADATA");
}

// A copy holds no thread for long, and none once its caller is gone.
TEST(UploadCopyTest, EndsAmidstATensorWhenTheCallIsCancelled) {
  constexpr int kPieces = 24;  // of which the copy consists
  const std::unique_ptr<FileSystem> posix = NewPosixFileSystem();
  FaultFileSystem files(posix.get());
  TestServer server({}, &files);
  const TestFiles base = {{"notes.txt", std::string(kPieces * limits::kFetchPieceBytes, 'n')}};
  server.Push("base", base);
  server.RunJobs();
  const TestFiles copied = {{"notes.txt", "begin" + base.at("notes.txt")}};
  v1::StartUploadRequest start;
  start.set_name("copied");
  start.add_parents()->set_model("base");
  const std::string id = server.Open(start, copied);
  std::vector<v1::WriteEntriesRequest> pieces = TestServer::PiecesOf(id, {{"notes.txt", "begin"}});
  v1::WriteEntriesRequest& copy = pieces.emplace_back();
  copy.set_upload(id);
  copy.set_path("notes.txt");
  copy.set_offset(5);
  copy.mutable_copy()->set_sha256(Digest::Of(base.at("notes.txt")).ToHex());
  copy.mutable_copy()->set_size_bytes(base.at("notes.txt").size());

  grpc::ClientContext context;
  std::atomic<int> appends = 0;
  files.before_append = [&] {
    if (++appends == 3) context.TryCancel();
    if (appends < 3) return;
    // A call that comes after the cancellation is answered after it was heard.
    v1::GetUploadRequest request;
    request.set_upload(id);
    v1::Upload upload;
    grpc::ClientContext later;
    EXPECT_TRUE(server.uploads->GetUpload(&later, request, &upload).ok());
  };
  v1::WriteEntriesResponse response;
  {
    const auto writer = server.uploads->WriteEntries(&context, &response);
    for (const v1::WriteEntriesRequest& piece : pieces) {
      if (!writer->Write(piece)) break;
    }
    writer->WritesDone();
    EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  ASSERT_TRUE(server.environment().active_calls().AwaitNone(absl::Seconds(60)));
  EXPECT_LT(appends, kPieces);
  files.before_append = nullptr;
  // What came before stays, and the copy can be made again.
  EXPECT_EQ(server.store().uploads().Get(id)->durable_bytes[0], 5u);
  EXPECT_EQ(CodeAndReason(server.Write({copy})), "OK");
  v1::FinishUploadResponse finished;
  EXPECT_EQ(CodeAndReason(server.Finish(id, &finished)), "OK");
  EXPECT_TRUE(server.FetchFile("copied", "notes.txt").data == copied.at("notes.txt"));
}

TEST_F(UploadsServiceTest, WrongOffsetNamesTheExpectedOne) {
  const std::string id = server_.Open(Named("m"), {{kPath, "0123456789"}});
  v1::WriteEntriesResponse response;
  EXPECT_TRUE(server_.Write({Piece(id, 0, "0123")}, &response).ok());
  EXPECT_EQ(response.durable_bytes(), 4u);
  EXPECT_EQ(Get(id).entries(0).durable_bytes(), 4u);
  const grpc::Status status = server_.Write({Piece(id, 6, "67")});
  EXPECT_EQ(CodeAndReason(status), "OUT_OF_RANGE WRONG_OFFSET");
  EXPECT_NE(status.error_message().find("4"), std::string::npos);
  // The upload goes on from where it was.
  EXPECT_TRUE(server_.Write({Piece(id, 4, "456789")}).ok());
}

TEST_F(UploadsServiceTest, PiecesBeforeABadOneAreKept) {
  const std::string id = server_.Open(Named("m"), {{kPath, "0123456789"}});
  v1::WriteEntriesRequest bad = Piece(id, 4, "4567");
  bad.set_crc32c(bad.crc32c() ^ 1);
  EXPECT_EQ(CodeAndReason(server_.Write({Piece(id, 0, "0123"), bad})), "DATA_LOSS BAD_CRC");
  EXPECT_EQ(Get(id).entries(0).durable_bytes(), 4u);
}

TEST_F(UploadsServiceTest, RefusesPiecesThatAreTooLargeOrPastTheEndOrWithoutPath) {
  const std::string id = server_.Open(Named("m"), {{kPath, "0123"}});
  EXPECT_EQ(
      CodeAndReason(server_.Write({Piece(id, 0, std::string(limits::kMaxPieceBytes + 1, 'x'))})),
      "INVALID_ARGUMENT PIECE_TOO_LARGE");
  EXPECT_EQ(CodeAndReason(server_.Write({Piece(id, 0, "01234")})), "INVALID_ARGUMENT PAST_END");
  v1::WriteEntriesRequest nowhere = Piece(id, 0, "0123");
  nowhere.clear_path();
  EXPECT_EQ(CodeAndReason(server_.Write({nowhere})), "INVALID_ARGUMENT NO_PATH");
  v1::WriteEntriesRequest elsewhere = Piece(id, 0, "0123");
  elsewhere.set_path("other");
  EXPECT_EQ(CodeAndReason(server_.Write({elsewhere})), "NOT_FOUND ENTRY_NOT_FOUND");
  EXPECT_EQ(CodeAndReason(server_.Write({Piece("nosuch", 0, "0123")})),
            "NOT_FOUND UPLOAD_NOT_FOUND");
  EXPECT_TRUE(server_.Write({Piece(id, 0, "0123")}).ok());
}

TEST_F(UploadsServiceTest, AnEntryHasOneWriter) {
  const std::string id = server_.Open(Named("m"), {{kPath, "01234567"}});
  auto held = server_.store().uploads().OpenWriter(id);
  ASSERT_TRUE(held.ok()) << held.status();
  ASSERT_TRUE((*held)->Write(kPath, 0, "0123").ok());
  EXPECT_EQ(CodeAndReason(server_.Write({Piece(id, 0, "0123")})), "ABORTED ENTRY_BUSY");
}

TEST_F(UploadsServiceTest, RefusesBadPaths) {
  const std::string id = server_.Open(Named("m"), {});
  for (const char* path : {"../x", "a/../b", "/etc/passwd", "", "a//b", "."}) {
    EXPECT_EQ(AddEntry(id, path, 1), "INVALID_ARGUMENT BAD_PATH") << path;
  }
  EXPECT_EQ(AddEntry(id, "a/b.txt", 1), "OK");
  EXPECT_EQ(AddEntry(id, "a/b.txt", 1), "OK");
  EXPECT_EQ(AddEntry(id, "a/b.txt", 2).substr(0, 14), "ALREADY_EXISTS");
}

TEST_F(UploadsServiceTest, StartChecksNameParentsAndRequestId) {
  v1::Upload upload;
  EXPECT_EQ(Start(Named("../x"), &upload), "INVALID_ARGUMENT BAD_NAME");
  v1::StartUploadRequest orphan = Named("orphan");
  orphan.add_parents()->set_model("nobody");
  EXPECT_EQ(Start(orphan, &upload).substr(0, 9), "NOT_FOUND");

  server_.Push("taken", SmallCheckpoint(1));
  EXPECT_EQ(Start(Named("taken"), &upload), "ALREADY_EXISTS NAME_TAKEN");
  v1::StartUploadRequest again = Named("taken");
  again.set_new_version(true);
  EXPECT_EQ(Start(again, &upload), "OK");

  v1::StartUploadRequest first = Named("idempotent");
  first.set_request_id("r1");
  v1::Upload repeated;
  EXPECT_EQ(Start(first, &upload), "OK");
  EXPECT_EQ(Start(first, &repeated), "OK");
  EXPECT_EQ(upload.id(), repeated.id());
  v1::StartUploadRequest other = Named("other");
  other.set_request_id("r1");
  EXPECT_EQ(Start(other, &upload).substr(0, 14), "ALREADY_EXISTS");
}

TEST_F(UploadsServiceTest, FinishNamesWhatIsWrong) {
  v1::FinishUploadResponse response;
  const std::string partial = server_.Open(Named("partial"), {{kPath, "0123"}});
  EXPECT_EQ(CodeAndReason(server_.Finish(partial, &response)).substr(0, 19), "FAILED_PRECONDITION");

  const TestFiles broken = {{kPath, std::string(64, '\x7f')}};
  const std::string id = server_.Open(Named("broken"), broken);
  EXPECT_TRUE(server_.Write(TestServer::PiecesOf(id, broken)).ok());
  const grpc::Status status = server_.Finish(id, &response);
  EXPECT_EQ(CodeAndReason(status), "INVALID_ARGUMENT BAD_SAFETENSORS");
  EXPECT_NE(status.error_message().find(kPath), std::string::npos) << status.error_message();

  EXPECT_EQ(CodeAndReason(server_.Finish("nosuch", &response)), "NOT_FOUND UPLOAD_NOT_FOUND");
}

TEST_F(UploadsServiceTest, FinishMayBeRepeated) {
  const TestFiles files = SmallCheckpoint(1);
  const std::string id = server_.Open(Named("m"), files);
  ASSERT_TRUE(server_.Write(TestServer::PiecesOf(id, files)).ok());
  v1::FinishUploadResponse first, second;
  ASSERT_TRUE(server_.Finish(id, &first).ok());
  ASSERT_TRUE(server_.Finish(id, &second).ok());
  EXPECT_EQ(first.model().id(), second.model().id());
  EXPECT_EQ(first.job(), second.job());
}

TEST_F(UploadsServiceTest, CancelledUploadsEndAndAreNotListed) {
  const std::string id = server_.Open(Named("m"), {{kPath, "0123"}});
  v1::CancelUploadRequest request;
  request.set_upload(id);
  for (int i = 0; i < 2; ++i) {
    google::protobuf::Empty nothing;
    grpc::ClientContext context;
    EXPECT_TRUE(server_.uploads->CancelUpload(&context, request, &nothing).ok());
  }
  EXPECT_EQ(CodeAndReason(server_.Write({Piece(id, 0, "0123")})).substr(0, 19),
            "FAILED_PRECONDITION");
  v1::ListUploadsResponse list;
  grpc::ClientContext context;
  EXPECT_TRUE(server_.uploads->ListUploads(&context, {}, &list).ok());
  EXPECT_EQ(list.uploads_size(), 0);
}

}  // namespace
}  // namespace wdelta::testing

#include "tests/server/test_server.h"

#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/bearer_token.h"
#include "google/rpc/error_info.pb.h"
#include "gtest/gtest.h"
#include "spdlog/sinks/null_sink.h"
#include "storage/base/checksum.h"

namespace wdelta::testing {

std::string CodeAndReason(const grpc::Status& status) {
  if (status.ok()) return "OK";
  const std::string code =
      absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  if (!details.ParseFromString(status.error_details()) || details.details_size() != 1 ||
      !details.details(0).UnpackTo(&info)) {
    return code;
  }
  EXPECT_EQ(info.domain(), "wdelta");
  return code + " " + info.reason();
}

TestServer::TestServer(const RpcOptions& options, FileSystem* files, uint64_t chunk_cache_bytes) {
  files_ = NewPosixFileSystem();
  log_ = std::make_unique<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>());
  ModelStoreOptions store_options;
  store_options.staging_dir = folder_.path();
  store_options.chunk_cache_bytes = chunk_cache_bytes;
  store_options.max_open_uploads = options.max_open_uploads;
  store_ = std::make_unique<ModelStore>(
      ModelStore::Dependencies{&hooked_blobs_, &catalog_, files == nullptr ? files_.get() : files,
                               &clock_},
      store_options);
  environment_ = std::make_unique<RpcEnvironment>(store_.get(), log_.get(), options);
  services_ = std::make_unique<RpcServices>(environment_.get());
  grpc::ServerBuilder builder;
  services_->RegisterTo(builder);
  builder.AddListeningPort(SocketAddress(), grpc::InsecureServerCredentials());
  server_ = builder.BuildAndStart();
  ConnectStubs(server_->InProcessChannel({}));
}

std::string TestServer::SocketAddress() const {
  return absl::StrCat("unix-abstract:wdelta-test-", getpid(), "-",
                      absl::Hex(reinterpret_cast<uintptr_t>(this)));
}

void TestServer::UseSocket() {
  ConnectStubs(grpc::CreateChannel(SocketAddress(), grpc::InsecureChannelCredentials()));
}

void TestServer::UseToken(const std::string& token) {
  ConnectStubs(
      server_->experimental().InProcessChannelWithInterceptors({}, BearerTokenInterceptors(token)));
}

void TestServer::ConnectStubs(const std::shared_ptr<grpc::Channel>& channel) {
  models = v1::Models::NewStub(channel);
  uploads = v1::Uploads::NewStub(channel);
  fetch = v1::Fetch::NewStub(channel);
  jobs = v1::Jobs::NewStub(channel);
  lineage = v1::Lineage::NewStub(channel);
  maintenance = v1::Maintenance::NewStub(channel);
  compare = v1::Compare::NewStub(channel);
  merge = v1::Merge::NewStub(channel);
  admin = v1::Admin::NewStub(channel);
}

TestServer::~TestServer() {
  // Shutdown without a deadline would hang the test where this says what is wrong.
  EXPECT_TRUE(environment_->active_calls().AwaitNone(absl::Seconds(60))) << "a call never ends";
  server_->Shutdown(absl::ToChronoTime(absl::Now()));
  server_->Wait();
}

void TestServer::RunJobs() {
  while (true) {
    absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
    ASSERT_TRUE(claim.ok()) << claim.status();
    if (!claim->job.has_value()) return;
    const absl::Status status = store_->runner().Run(*std::move(claim->job), [] { return false; });
    EXPECT_TRUE(status.ok()) << status;
  }
}

std::string TestServer::Open(const v1::StartUploadRequest& request, const TestFiles& files) {
  v1::Upload upload;
  grpc::ClientContext start_context;
  const grpc::Status started = uploads->StartUpload(&start_context, request, &upload);
  EXPECT_EQ(CodeAndReason(started), "OK") << started.error_message();
  v1::AddEntriesRequest entries;
  entries.set_upload(upload.id());
  for (const auto& [path, data] : files) {
    v1::Entry* entry = entries.add_entries();
    entry->set_path(path);
    entry->set_size_bytes(data.size());
  }
  grpc::ClientContext add_context;
  const grpc::Status added = uploads->AddEntries(&add_context, entries, &upload);
  EXPECT_EQ(CodeAndReason(added), "OK") << added.error_message();
  return upload.id();
}

std::vector<v1::WriteEntriesRequest> TestServer::PiecesOf(const std::string& upload,
                                                          const TestFiles& files) {
  constexpr size_t kPieceBytes = 100'000;
  std::vector<v1::WriteEntriesRequest> pieces;
  for (const auto& [path, data] : files) {
    for (size_t offset = 0; offset < data.size(); offset += kPieceBytes) {
      v1::WriteEntriesRequest& piece = pieces.emplace_back();
      piece.set_upload(upload);
      piece.set_path(path);
      piece.set_offset(offset);
      piece.set_data(data.substr(offset, kPieceBytes));
      piece.set_crc32c(Crc32c(piece.data()));
    }
  }
  return pieces;
}

grpc::Status TestServer::Write(const std::vector<v1::WriteEntriesRequest>& pieces,
                               v1::WriteEntriesResponse* response) {
  v1::WriteEntriesResponse ignored;
  grpc::ClientContext context;
  const auto writer = uploads->WriteEntries(&context, response == nullptr ? &ignored : response);
  for (const v1::WriteEntriesRequest& piece : pieces) {
    if (!writer->Write(piece)) break;
  }
  writer->WritesDone();
  return writer->Finish();
}

grpc::Status TestServer::Finish(const std::string& upload, v1::FinishUploadResponse* response) {
  v1::FinishUploadRequest request;
  request.set_upload(upload);
  grpc::ClientContext context;
  return uploads->FinishUpload(&context, request, response);
}

v1::Model TestServer::Push(const std::string& name, const TestFiles& files,
                           const std::vector<std::string>& parents) {
  v1::StartUploadRequest request;
  request.set_name(name);
  for (const std::string& parent : parents) request.add_parents()->set_model(parent);
  const std::string upload = Open(request, files);
  const grpc::Status written = Write(PiecesOf(upload, files));
  EXPECT_EQ(CodeAndReason(written), "OK") << written.error_message();
  v1::FinishUploadResponse response;
  const grpc::Status finished = Finish(upload, &response);
  EXPECT_EQ(CodeAndReason(finished), "OK") << finished.error_message();
  return response.model();
}

Fetched TestServer::FetchFile(const v1::FetchFileRequest& request) {
  Fetched fetched;
  grpc::ClientContext context;
  const auto reader = fetch->FetchFile(&context, request);
  v1::FetchFileResponse message;
  while (reader->Read(&message)) {
    if (message.has_header()) fetched.header = message.header();
    if (message.has_trailer()) fetched.trailer = message.trailer();
    if (!message.has_piece()) continue;
    EXPECT_EQ(message.piece().offset(), fetched.header.offset() + fetched.data.size());
    EXPECT_EQ(message.piece().crc32c(), Crc32c(message.piece().data()));
    fetched.data += message.piece().data();
  }
  fetched.status = reader->Finish();
  return fetched;
}

Fetched TestServer::FetchFile(const std::string& model, const std::string& path) {
  v1::FetchFileRequest request;
  request.set_model(model);
  request.set_path(path);
  return FetchFile(request);
}

}  // namespace wdelta::testing

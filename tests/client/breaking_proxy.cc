#include "tests/client/breaking_proxy.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "grpc/grpc.h"
#include "storage/base/checksum.h"

namespace wdelta::testing {

BreakingProxy::BreakingProxy(TestServer& server) : server_(server) {
  // Keeps gRPC from being shut down between two tests, for which it waits up to ten seconds
  // now and then.
  [[maybe_unused]] static const bool keeps_grpc = (grpc_init(), true);
  address_ = absl::StrCat("unix:", socket_folder_ / "socket");
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
  builder.RegisterService(static_cast<v1::Fetch::Service*>(this));
  builder.RegisterService(static_cast<v1::Models::Service*>(this));
  builder.SetMaxReceiveMessageSize(-1);
  proxy_ = builder.BuildAndStart();
  client_ = *Client::Create(address_);
}

BreakingProxy::~BreakingProxy() {
  proxy_->Shutdown();
  proxy_->Wait();
}

grpc::Status BreakingProxy::GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                                     v1::Model* response) {
  grpc::ClientContext context;
  return server_.models->GetModel(&context, *request, response);
}

grpc::Status BreakingProxy::FetchFile(grpc::ServerContext*, const v1::FetchFileRequest* request,
                                      grpc::ServerWriter<v1::FetchFileResponse>* writer) {
  {
    absl::MutexLock lock(&mutex_);
    ++files_fetched;
  }
  grpc::ClientContext context;
  const auto reader = server_.fetch->FetchFile(&context, *request);
  v1::FetchFileResponse message;
  while (reader->Read(&message)) writer->Write(message);
  return reader->Finish();
}

grpc::Status BreakingProxy::FetchDelta(grpc::ServerContext*, const v1::FetchDeltaRequest* request,
                                       grpc::ServerWriter<v1::FetchFileResponse>* writer) {
  delta_requests.push_back(*request);
  grpc::ClientContext context;
  const auto reader = server_.fetch->FetchDelta(&context, *request);
  v1::FetchFileResponse message;
  int pieces = 0;
  while (reader->Read(&message)) {
    if (!message.has_piece()) {
      writer->Write(message);
      continue;
    }
    const v1::Piece& piece = message.piece();
    for (size_t at = 0; at < piece.data().size(); at += kSentPieceBytes) {
      if (breaks > 0 && pieces++ == break_after_pieces) {
        --breaks;
        context.TryCancel();
        return grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken");
      }
      if (auto call = std::exchange(in_between, nullptr)) call();
      v1::FetchFileResponse sent;
      sent.mutable_piece()->set_offset(piece.offset() + at);
      sent.mutable_piece()->set_data(piece.data().substr(at, kSentPieceBytes));
      if (has_bad_content && piece.offset() + at > 0) {
        (*sent.mutable_piece()->mutable_data())[0] ^= 1;
        has_bad_content = false;
      }
      sent.mutable_piece()->set_crc32c(Crc32c(sent.piece().data()));
      delta_bytes += sent.piece().data().size();
      writer->Write(sent);
    }
  }
  return reader->Finish();
}

}  // namespace wdelta::testing

#include "tests/crash/upload_calls.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/rpc_status.h"
#include "storage/base/checksum.h"
#include "storage/base/status_macros.h"

namespace wdelta::testing {
namespace {

constexpr size_t kPieceBytes = 50'000;
constexpr absl::Duration kTimeout = absl::Seconds(60);

absl::StatusOr<v1::Upload> StartUpload(Client& client, const v1::StartUploadRequest& request) {
  v1::Upload started;
  grpc::ClientContext context;
  SetCallDeadline(context);
  WDELTA_RETURN_IF_ERROR(FromGrpcStatus(client.uploads().StartUpload(&context, request, &started)));
  return started;
}

// Returns the upload, with what is durable of its entries.
absl::StatusOr<v1::Upload> AddAllEntries(Client& client, const OpenUpload& upload) {
  v1::AddEntriesRequest request;
  request.set_upload(upload.id);
  for (const auto& [path, bytes] : upload.content->files) {
    v1::Entry& entry = *request.add_entries();
    entry.set_path(path);
    entry.set_size_bytes(bytes.size());
  }
  v1::Upload added;
  grpc::ClientContext context;
  SetCallDeadline(context);
  WDELTA_RETURN_IF_ERROR(FromGrpcStatus(client.uploads().AddEntries(&context, request, &added)));
  return added;
}

}  // namespace

void SetCallDeadline(grpc::ClientContext& context) {
  context.set_deadline(absl::ToChronoTime(absl::Now() + kTimeout));
}

PushOptions OptionsOfPush(const v1::StartUploadRequest& request) {
  PushOptions options;
  // A killed daemon comes back at another address: a push to the old one waits in vain.
  options.finish_timeout = kTimeout;
  options.name = request.name();
  options.request_id = request.request_id();
  options.parents.assign(request.parents().begin(), request.parents().end());
  options.fidelity = request.fidelity();
  options.new_version = request.new_version();
  return options;
}

absl::StatusOr<LiveModel> PushUpload(Client& client, const TempFolder& folder,
                                     const OpenUpload& upload, const PushOptions& options) {
  const std::string& name = upload.request.request_id();
  for (const auto& [path, bytes] : upload.content->files) {
    folder.Write(absl::StrCat(name, "/", path), bytes);
  }
  const absl::StatusOr<PushResult> pushed = PushCheckpoint(client, folder / name, options);
  std::filesystem::remove_all(folder / name);
  WDELTA_RETURN_IF_ERROR(pushed.status());
  LiveModel model;
  model.id = pushed->model.id();
  model.name = upload.request.name();
  model.content = upload.content;
  model.is_lossy = upload.request.has_fidelity();
  return model;
}

absl::Status StartUpload(Client& client, OpenUpload& upload) {
  WDELTA_ASSIGN_OR_RETURN(const v1::Upload started, StartUpload(client, upload.request));
  upload.id = started.id();
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> StartAndWritePart(Client& client, std::mt19937& random,
                                           OpenUpload& upload) {
  WDELTA_RETURN_IF_ERROR(StartUpload(client, upload));
  WDELTA_ASSIGN_OR_RETURN(const v1::Upload added, AddAllEntries(client, upload));
  const auto& [path, bytes] = *upload.content->files.begin();
  size_t offset = 0;  // where an earlier attempt came to
  for (const v1::Entry& entry : added.entries()) {
    if (entry.path() == path) offset = entry.durable_bytes();
  }
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::WriteEntriesResponse response;
  const auto writer = client.uploads().WriteEntries(&context, &response);
  const size_t end = std::max<size_t>(offset, 1 + random() % bytes.size());
  for (; offset < end; offset += kPieceBytes) {
    v1::WriteEntriesRequest piece;
    piece.set_upload(upload.id);
    piece.set_path(path);
    piece.set_offset(offset);
    piece.set_data(bytes.substr(offset, std::min(kPieceBytes, end - offset)));
    piece.set_crc32c(Crc32c(piece.data()));
    if (!writer->Write(piece)) break;
  }
  writer->WritesDone();
  WDELTA_RETURN_IF_ERROR(FromGrpcStatus(writer->Finish()));
  upload.durable_bytes[path] = end;
  return response.durable_bytes();
}

absl::Status CancelUpload(Client& client, const std::string& upload_id) {
  v1::CancelUploadRequest request;
  request.set_upload(upload_id);
  google::protobuf::Empty response;
  grpc::ClientContext context;
  SetCallDeadline(context);
  return FromGrpcStatus(client.uploads().CancelUpload(&context, request, &response));
}

}  // namespace wdelta::testing

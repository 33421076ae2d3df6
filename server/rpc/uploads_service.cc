#include "server/rpc/uploads_service.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/rpc/convert.h"
#include "server/rpc/own_page.h"
#include "server/rpc/page_token.h"
#include "server/rpc/unary.h"
#include "server/rpc/upload_reactor.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

absl::Status StartUploadBody(Uploads& uploads, const v1::StartUploadRequest& request,
                             const NameCheck& check_name, v1::Upload* response) {
  WDELTA_ASSIGN_OR_RETURN(const StartUploadParams params, FromProto(request));
  WDELTA_ASSIGN_OR_RETURN(const UploadView upload, uploads.Start(params, check_name));
  *response = ToProto(upload, EntryList::kInclude);
  return absl::OkStatus();
}

absl::Status AddEntriesBody(Uploads& uploads, const v1::AddEntriesRequest& request,
                            v1::Upload* response) {
  std::vector<EntryParams> entries;
  entries.reserve(request.entries_size());
  for (const v1::Entry& entry : request.entries()) {
    entries.push_back({entry.path(), entry.size_bytes(), entry.sha256()});
  }
  WDELTA_ASSIGN_OR_RETURN(const UploadView upload, uploads.AddEntries(request.upload(), entries));
  *response = ToProto(upload, EntryList::kInclude);
  return absl::OkStatus();
}

absl::Status FindContentBody(Uploads& uploads, const v1::FindContentRequest& request,
                             const NameCheck& check_name, v1::FindContentResponse* response) {
  std::vector<Digest> contents;
  for (int i = 0; i < request.contents_size(); ++i) {
    const std::string& hex = request.contents(i).sha256();
    const absl::StatusOr<Digest> digest = Digest::FromHex(hex);
    if (!digest.ok()) {
      return MakeError(
          absl::StatusCode::kInvalidArgument, "BAD_DIGEST",
          absl::StrCat("contents[", i, "].sha256: expected 64 lower-case hex digits, found '", hex,
                       "'"));
    }
    contents.push_back(*digest);
  }
  WDELTA_ASSIGN_OR_RETURN(const std::vector<uint32_t> found,
                          uploads.FindContent(request.upload(), contents, check_name));
  response->mutable_found()->Add(found.begin(), found.end());
  return absl::OkStatus();
}

absl::Status ListUploadsBody(Uploads& uploads, const v1::ListUploadsRequest& request,
                             const NameCheck& check_name, v1::ListUploadsResponse* response) {
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string after, DecodePageToken(filters, request.page_token()));
  const uint32_t page_size = EffectivePageSize(request.page_size());
  WDELTA_ASSIGN_OR_RETURN(
      const Page<UploadView> page,
      OwnPage(
          check_name, after, page_size,
          [&](const std::string& from, uint32_t limit) { return uploads.ListOpen(from, limit); },
          [](const UploadView& upload) { return upload.record.name(); },
          [](const UploadView& upload) { return upload.record.id(); }));
  for (const UploadView& upload : page.items) {
    *response->add_uploads() = ToProto(upload, EntryList::kOmit);
  }
  response->set_next_page_token(EncodePageToken(filters, page.next));
  return absl::OkStatus();
}

absl::Status FinishUploadBody(Uploads& uploads, const v1::FinishUploadRequest& request,
                              const NameCheck& check_name, v1::FinishUploadResponse* response) {
  WDELTA_ASSIGN_OR_RETURN(
      const FinishedUpload finished,
      uploads.Finish(request.upload(), ToStringMap(request.sha256_by_path()), check_name));
  *response->mutable_model() = ToProto(finished.model, FileList::kOmit);
  response->set_job(finished.job_id);
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* UploadsService::StartUpload(grpc::CallbackServerContext* context,
                                                      const v1::StartUploadRequest* request,
                                                      v1::Upload* response) {
  return ServeUnary(environment_, "Uploads.StartUpload", context, request, response,
                    [this](const auto& in, auto* out, const RpcCall& call) {
                      return StartUploadBody(environment_.store().uploads(), in, call.name_check(),
                                             out);
                    });
}

grpc::ServerUnaryReactor* UploadsService::AddEntries(grpc::CallbackServerContext* context,
                                                     const v1::AddEntriesRequest* request,
                                                     v1::Upload* response) {
  return ServeUnary(environment_, "Uploads.AddEntries", context, request, response,
                    [this](const auto& in, auto* out) {
                      return AddEntriesBody(environment_.store().uploads(), in, out);
                    });
}

grpc::ServerReadReactor<v1::WriteEntriesRequest>* UploadsService::WriteEntries(
    grpc::CallbackServerContext* context, v1::WriteEntriesResponse* response) {
  return StartUploadReactor(&environment_, context, response);
}

grpc::ServerUnaryReactor* UploadsService::FindContent(grpc::CallbackServerContext* context,
                                                      const v1::FindContentRequest* request,
                                                      v1::FindContentResponse* response) {
  return ServeUnary(environment_, "Uploads.FindContent", context, request, response,
                    [this](const auto& in, auto* out, const RpcCall& call) {
                      return FindContentBody(environment_.store().uploads(), in, call.name_check(),
                                             out);
                    });
}

grpc::ServerUnaryReactor* UploadsService::GetUpload(grpc::CallbackServerContext* context,
                                                    const v1::GetUploadRequest* request,
                                                    v1::Upload* response) {
  return ServeUnary(environment_, "Uploads.GetUpload", context, request, response,
                    [this](const auto& in, auto* out) -> absl::Status {
                      WDELTA_ASSIGN_OR_RETURN(const UploadView upload,
                                              environment_.store().uploads().Get(in.upload()));
                      *out = ToProto(upload, EntryList::kInclude);
                      return absl::OkStatus();
                    });
}

grpc::ServerUnaryReactor* UploadsService::ListUploads(grpc::CallbackServerContext* context,
                                                      const v1::ListUploadsRequest* request,
                                                      v1::ListUploadsResponse* response) {
  return ServeUnary(environment_, "Uploads.ListUploads", context, request, response,
                    [this](const auto& in, auto* out, const RpcCall& call) {
                      return ListUploadsBody(environment_.store().uploads(), in, call.name_check(),
                                             out);
                    });
}

grpc::ServerUnaryReactor* UploadsService::FinishUpload(grpc::CallbackServerContext* context,
                                                       const v1::FinishUploadRequest* request,
                                                       v1::FinishUploadResponse* response) {
  return ServeUnary(environment_, "Uploads.FinishUpload", context, request, response,
                    [this](const auto& in, auto* out, const RpcCall& call) {
                      return FinishUploadBody(environment_.store().uploads(), in, call.name_check(),
                                              out);
                    });
}

grpc::ServerUnaryReactor* UploadsService::CancelUpload(grpc::CallbackServerContext* context,
                                                       const v1::CancelUploadRequest* request,
                                                       google::protobuf::Empty* response) {
  return ServeUnary(
      environment_, "Uploads.CancelUpload", context, request, response,
      [this](const auto& in, auto*) { return environment_.store().uploads().Cancel(in.upload()); });
}

}  // namespace wdelta

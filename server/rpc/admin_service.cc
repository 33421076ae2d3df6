#include "server/rpc/admin_service.h"

#include "server/rpc/unary.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/data_dir.h"
#include "storage/wdelta/wdelta_file.h"

namespace wdelta {
namespace {

absl::Status GetServerInfoBody(RpcEnvironment& environment, v1::ServerInfo* info) {
  info->set_version(WDELTA_VERSION);
  info->set_data_format_version(kDataFormat);
  info->set_wdelta_version(kWdeltaVersion);
  info->add_readable_wdelta_versions(kWdeltaVersion);
  for (const char* word :
       {"lossless", "staged-fetch", "file-ranges", "fetch-delta", "import", "watch-jobs",
        "near-lossless", "sparse", "onebit", "auto", "repack", "gc", "retention"}) {
    info->add_capabilities(word);
  }
  v1::Limits* const bounds = info->mutable_limits();
  bounds->set_max_piece_bytes(limits::kMaxPieceBytes);
  bounds->set_max_entries_per_upload(limits::kMaxEntriesPerUpload);
  bounds->set_max_open_uploads(environment.options().max_open_uploads);
  bounds->set_max_page_size(limits::kMaxPageSize);
  bounds->set_max_parents(limits::kMaxParents);
  bounds->set_max_file_bytes(limits::kMaxFileBytes);
  WDELTA_ASSIGN_OR_RETURN(const StoreTotals totals, environment.store().models().Totals());
  info->set_model_count(totals.model_count);
  info->set_raw_bytes(totals.raw_bytes);
  info->set_stored_bytes(totals.stored_bytes);
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::GetServerInfo(grpc::CallbackServerContext* context,
                                                      const v1::GetServerInfoRequest* request,
                                                      v1::ServerInfo* response) {
  return ServeUnary(
      environment_, "Admin.GetServerInfo", context, request, response,
      [this](const auto&, auto* out) { return GetServerInfoBody(environment_, out); });
}

}  // namespace wdelta

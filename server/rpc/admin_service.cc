#include "server/rpc/admin_service.h"

#include <utility>

#include "server/rpc/blocking_stream.h"
#include "server/rpc/unary.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/backup_maker.h"
#include "storage/engine/disk/data_dir.h"
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
  if (environment.options().backup_maker != nullptr) info->add_capabilities("backup");
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
  WDELTA_ASSIGN_OR_RETURN(const DiskGuard::State disk, environment.store().disk().Look());
  info->mutable_disk()->set_free_bytes(disk.free_bytes);
  info->mutable_disk()->set_min_free_bytes(disk.min_free_bytes);
  info->mutable_disk()->set_reserved_bytes(disk.reserved_bytes);
  info->mutable_disk()->set_is_full(disk.is_full);
  return absl::OkStatus();
}

using BackupStream = BlockingStream<v1::BackupResponse>;

// Between two messages of one phase.
constexpr uint64_t kProgressBytes = 64 * limits::kMiB;

v1::BackupProgress::Phase ToProto(BackupPhase phase) {
  switch (phase) {
    case BackupPhase::kFreezing:
      return v1::BackupProgress::FREEZING;
    case BackupPhase::kCatalog:
      return v1::BackupProgress::CATALOG;
    case BackupPhase::kBlobs:
      return v1::BackupProgress::BLOBS;
    case BackupPhase::kUploads:
      return v1::BackupProgress::UPLOADS;
    case BackupPhase::kVerifying:
      break;
  }
  return v1::BackupProgress::VERIFYING;
}

// Sends what is worth a message.
class BackupProgressSender {
 public:
  explicit BackupProgressSender(BackupStream* stream) : stream_(*stream) {}

  absl::Status Take(const BackupProgress& progress) {
    WDELTA_RETURN_IF_ERROR(stream_.CheckAlive());
    const bool is_due = !was_sent_ || progress.phase != sent_.phase ||
                        progress.read_bytes - sent_.read_bytes >= kProgressBytes;
    if (!is_due) return absl::OkStatus();
    was_sent_ = true;
    sent_ = progress;
    v1::BackupResponse response;
    response.mutable_progress()->set_phase(ToProto(progress.phase));
    response.mutable_progress()->set_read_bytes(progress.read_bytes);
    return stream_.Send(std::move(response));
  }

 private:
  BackupStream& stream_;
  BackupProgress sent_;
  bool was_sent_ = false;
};

absl::Status BackupBody(RpcEnvironment& environment, const v1::BackupRequest& request,
                        BackupStream& stream) {
  BackupMaker* const maker = environment.options().backup_maker;
  if (maker == nullptr) {
    return MakeError(absl::StatusCode::kUnimplemented, "NO_BACKUPS_HERE",
                     "this server's storage has no backups");
  }
  BackupOptions options;
  options.folder = request.folder();
  options.keep = request.keep();
  options.verify = !request.skip_verification();
  BackupProgressSender sender(&stream);
  WDELTA_ASSIGN_OR_RETURN(const BackupReport report,
                          maker->MakeBackup(options, [&](const BackupProgress& progress) {
                            return sender.Take(progress);
                          }));
  v1::BackupResponse response;
  v1::BackupSummary& summary = *response.mutable_summary();
  summary.set_folder(request.folder());
  summary.set_backup_id(report.id);
  summary.set_total_bytes(report.total_bytes);
  summary.set_new_bytes(report.new_bytes);
  summary.set_model_count(report.model_count);
  summary.set_staged_upload_count(report.staged_upload_count);
  summary.set_verified(report.is_verified);
  summary.set_problem_count(report.problem_count);
  summary.set_first_problem(report.first_problem);
  summary.mutable_kept_backup_ids()->Add(report.kept_ids.begin(), report.kept_ids.end());
  return stream.Send(std::move(response));
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::GetServerInfo(grpc::CallbackServerContext* context,
                                                      const v1::GetServerInfoRequest* request,
                                                      v1::ServerInfo* response) {
  return ServeUnary(
      environment_, "Admin.GetServerInfo", context, request, response,
      [this](const auto&, auto* out) { return GetServerInfoBody(environment_, out); });
}

// A request lives as long as its call.
grpc::ServerWriteReactor<v1::BackupResponse>* AdminService::Backup(
    grpc::CallbackServerContext* context, const v1::BackupRequest* request) {
  return new BackupStream(
      &environment_, "Admin.Backup", context, request,
      [this, request](BackupStream& stream) { return BackupBody(environment_, *request, stream); });
}

}  // namespace wdelta

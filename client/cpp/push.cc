#include "client/cpp/push.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/local_checkpoint.h"
#include "client/cpp/local_delta.h"
#include "client/cpp/local_files.h"
#include "client/cpp/push_stream.h"
#include "client/cpp/rpc_status.h"
#include "client/cpp/transfer_retries.h"
#include "storage/base/clock.h"
#include "storage/base/error.h"
#include "storage/base/id.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr uint64_t kPreferredPieceBytes = 1 * limits::kMiB;
constexpr uint64_t kEntriesMessageBytes = 1 * limits::kMiB;
// More than lies in buffers on the way: when so much was sent, some of it got through.
constexpr uint64_t kBufferedBytes = 16 * limits::kMiB;

bool IsInterrupted(const PushOptions& options) {
  return options.interrupt != nullptr && options.interrupt->IsTriggered();
}

absl::Status Interrupted(absl::string_view consequence) {
  return MakeError(absl::StatusCode::kCancelled, "INTERRUPTED",
                   absl::StrCat("interrupted: ", consequence));
}

// One upload from StartUpload to FinishUpload. One thread at a time.
class Push {
 public:
  Push(Client& client, const PushOptions& options, v1::UploadKind kind,
       std::vector<LocalFile> files)
      : client_(client),
        options_(options),
        stalls_(options.on_stall),
        stall_(stalls_),
        kind_(kind) {
    for (LocalFile& file : files) {
      index_by_path_[file.path] = files_.size();
      files_.push_back({.local = std::move(file)});
    }
  }

  absl::StatusOr<PushResult> Run();
  // After a failed Run: frees the upload's space unless someone may go on with it. The
  // status to report: the cause, or what became of the upload that was interrupted.
  absl::Status Abandon(const absl::Status& cause);
  // After Run: the model as it has become.
  absl::StatusOr<v1::Model> GetModel(const std::string& id);

 private:
  absl::StatusOr<uint64_t> PieceBytes();
  absl::Status Start();
  absl::Status AddEntries();
  absl::Status SendFiles();
  absl::StatusOr<v1::FinishUploadResponse> Finish();
  absl::Status TakeDurableSizes(const v1::Upload& upload);
  uint64_t DurableBytes() const;
  void Await(absl::Duration pause);

  // An idempotent call, repeated when the connection breaks, as often as options allow. The
  // first call of all fails at once when there is no server.
  template <typename Stub, typename Response, typename Request>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request, absl::Duration timeout) {
    TransferRetries retries(options_, stall_);
    for (bool is_first = true;; is_first = false) {
      grpc::ClientContext context;
      context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
      const Interrupt::Scope scope(options_.interrupt, &context);
      Response response;
      const absl::Status status = FromGrpcStatus((stub.*method)(&context, request, &response));
      if (status.ok()) {
        connected_ = true;
        if (!is_first) stall_.GoesOn();
        return response;
      }
      // Where nobody has answered yet, there is no server.
      if (!connected_ && !IsBusy(status)) return status;
      if (absl::IsDeadlineExceeded(status)) {
        return absl::DeadlineExceededError(
            absl::StrCat("no answer within ", absl::FormatDuration(timeout)));
      }
      const std::optional<absl::Duration> pause = retries.Next(status);
      if (!pause.has_value() || IsInterrupted(options_)) return status;
      // The next attempt may wait for as long as connecting takes.
      if (absl::IsUnavailable(status)) stall_.Stalled(status);
      Await(*pause);
    }
  }

  Client& client_;
  const PushOptions& options_;
  StallReport stalls_;
  StallReport::Transfer stall_;
  const v1::UploadKind kind_;
  std::vector<UploadFile> files_;
  absl::flat_hash_map<std::string, size_t> index_by_path_;
  std::string request_id_;  // given, or a random one
  v1::Upload upload_;       // without entries
  SentBytes bytes_;
  bool connected_ = false;
};

absl::StatusOr<PushResult> Push::Run() {
  WDELTA_RETURN_IF_ERROR(Start());
  if (upload_.state() != v1::Upload::FINISHED) {
    WDELTA_RETURN_IF_ERROR(AddEntries());
    if (kind_ == v1::CHECKPOINT) {
      WDELTA_RETURN_IF_ERROR(
          FindKnownContent(client_, upload_.id(), options_.reuse, options_.interrupt, files_));
    }
    WDELTA_RETURN_IF_ERROR(SendFiles());
  }
  PushResult result;
  WDELTA_ASSIGN_OR_RETURN(v1::FinishUploadResponse finished, Finish());
  result.model = std::move(*finished.mutable_model());
  result.job = finished.job();
  result.sent_bytes = bytes_.sent;
  result.reused_bytes = bytes_.copied;
  for (const UploadFile& file : files_) result.total_bytes += file.local.size_bytes;
  return result;
}

absl::Status Push::Abandon(const absl::Status& cause) {
  const bool interrupted = IsInterrupted(options_);
  const std::string what = absl::StrCat("upload ", upload_.id(), " of ", upload_.name());
  if (upload_.id().empty()) {
    return interrupted ? Interrupted("before the upload was open; nothing was stored") : cause;
  }
  if (upload_.state() == v1::Upload::FINISHED) return cause;
  const std::string goes_on =
      absl::StrCat(what, " stays open; request id ", request_id_, " goes on with it");
  if (!options_.request_id.empty()) return interrupted ? Interrupted(goes_on) : cause;
  if (!interrupted && IsUnreachable(cause)) return Annotate(cause, goes_on);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(5)));
  v1::CancelUploadRequest request;
  request.set_upload(upload_.id());
  google::protobuf::Empty response;
  const absl::Status cancelled =
      FromGrpcStatus(client_.uploads().CancelUpload(&context, request, &response));
  if (!interrupted) return cause;
  if (cancelled.ok()) return Interrupted(absl::StrCat(what, " was cancelled, nothing is stored"));
  return Interrupted(absl::StrCat(what, " could not be cancelled: ", cancelled.message()));
}

absl::StatusOr<uint64_t> Push::PieceBytes() {
  WDELTA_ASSIGN_OR_RETURN(const v1::ServerInfo info,
                          Call(client_.admin(), &v1::Admin::Stub::GetServerInfo,
                               v1::GetServerInfoRequest(), client_.options().rpc_timeout));
  const uint64_t max_bytes = info.limits().max_piece_bytes();
  return max_bytes == 0 ? kPreferredPieceBytes : std::min(max_bytes, kPreferredPieceBytes);
}

absl::Status Push::Start() {
  request_id_ = options_.request_id;
  if (request_id_.empty()) {
    const SystemClock clock;
    request_id_ = IdGenerator(&clock).Next();
  }
  v1::StartUploadRequest request;
  request.set_request_id(request_id_);
  request.set_name(options_.name);
  request.mutable_parents()->Add(options_.parents.begin(), options_.parents.end());
  request.mutable_labels()->insert(options_.labels.begin(), options_.labels.end());
  request.mutable_metadata()->insert(options_.metadata.begin(), options_.metadata.end());
  if (options_.fidelity.ByteSizeLong() > 0) *request.mutable_fidelity() = options_.fidelity;
  request.set_kind(kind_);
  request.set_new_version(options_.new_version);
  WDELTA_ASSIGN_OR_RETURN(upload_, Call(client_.uploads(), &v1::Uploads::Stub::StartUpload, request,
                                        client_.options().rpc_timeout));
  return TakeDurableSizes(upload_);
}

absl::Status Push::AddEntries() {
  for (size_t next = 0; next < files_.size();) {
    v1::AddEntriesRequest request;
    request.set_upload(upload_.id());
    for (uint64_t bytes = 0; next < files_.size() && bytes < kEntriesMessageBytes; ++next) {
      v1::Entry& entry = *request.add_entries();
      entry.set_path(files_[next].local.path);
      entry.set_size_bytes(files_[next].local.size_bytes);
      bytes += entry.ByteSizeLong();
    }
    WDELTA_ASSIGN_OR_RETURN(v1::Upload upload,
                            Call(client_.uploads(), &v1::Uploads::Stub::AddEntries, request,
                                 client_.options().rpc_timeout));
    WDELTA_RETURN_IF_ERROR(TakeDurableSizes(upload));
  }
  return absl::OkStatus();
}

absl::Status Push::SendFiles() {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t piece_bytes, PieceBytes());
  bool reconnected = false;
  TransferRetries retries(options_, stall_);
  uint64_t unsure_until = 0;
  const ProgressCallback progress = [&](const Progress& at) {
    if (at.done_bytes > unsure_until) stall_.GoesOn();
    if (options_.progress) options_.progress(at);
  };
  while (true) {
    unsure_until = DurableBytes() + kBufferedBytes;
    const absl::Status status = SendRemaining(client_, upload_.id(), piece_bytes, files_, progress,
                                              options_.interrupt, bytes_);
    if (status.ok()) stall_.GoesOn();
    if (status.ok() || IsInterrupted(options_)) return status;
    // The server may still be ending the broken stream: it holds the entry (ABORTED)
    // or appends what was in flight (OUT_OF_RANGE).
    const bool is_forgotten = ErrorReason(status) == "CONTENT_NOT_FOUND";
    if (is_forgotten) {
      for (UploadFile& file : files_) file.known.clear();
    }
    if (!is_forgotten) {
      // The stream that broke may still be at work.
      const bool is_overtaken =
          reconnected && (absl::IsAborted(status) || absl::IsOutOfRange(status));
      const std::optional<absl::Duration> pause =
          is_overtaken ? retries.NextAfterBreak(status) : retries.Next(status);
      if (!pause.has_value()) return status;
      Await(*pause);
    }
    reconnected = true;
    const uint64_t durable_before = DurableBytes();
    v1::GetUploadRequest request;
    request.set_upload(upload_.id());
    WDELTA_ASSIGN_OR_RETURN(v1::Upload upload,
                            Call(client_.uploads(), &v1::Uploads::Stub::GetUpload, request,
                                 client_.options().rpc_timeout));
    WDELTA_RETURN_IF_ERROR(TakeDurableSizes(upload));
    if (DurableBytes() > durable_before) retries.Reset();
  }
}

absl::StatusOr<v1::FinishUploadResponse> Push::Finish() {
  v1::FinishUploadRequest request;
  request.set_upload(upload_.id());
  for (const UploadFile& file : files_) {
    if (file.hashed_bytes != file.local.size_bytes) continue;
    (*request.mutable_sha256_by_path())[file.local.path] = file.hasher.Current().ToHex();
  }
  return Call(client_.uploads(), &v1::Uploads::Stub::FinishUpload, request,
              options_.finish_timeout);
}

absl::StatusOr<v1::Model> Push::GetModel(const std::string& id) {
  v1::GetModelRequest request;
  request.set_model(absl::StrCat("id:", id));
  return Call(client_.models(), &v1::Models::Stub::GetModel, request,
              client_.options().rpc_timeout);
}

absl::Status Push::TakeDurableSizes(const v1::Upload& upload) {
  for (const v1::Entry& entry : upload.entries()) {
    const auto index = index_by_path_.find(entry.path());
    if (index == index_by_path_.end()) continue;
    UploadFile& file = files_[index->second];
    if (entry.durable_bytes() > file.local.size_bytes) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "FILE_CHANGED",
                       absl::StrCat(file.local.path, ": expected at most ", file.local.size_bytes,
                                    " bytes on the server, found ", entry.durable_bytes()));
    }
    file.durable_bytes = entry.durable_bytes();
  }
  return absl::OkStatus();
}

uint64_t Push::DurableBytes() const {
  uint64_t bytes = 0;
  for (const UploadFile& file : files_) bytes += file.durable_bytes;
  return bytes;
}

void Push::Await(absl::Duration pause) {
  Interrupt never;
  AwaitRetry(client_, pause, options_.interrupt != nullptr ? *options_.interrupt : never);
}

absl::StatusOr<PushResult> PushFiles(Client& client, std::vector<LocalFile> files,
                                     v1::UploadKind kind, const PushOptions& options) {
  Push push(client, options, kind, std::move(files));
  absl::StatusOr<PushResult> result = push.Run();
  if (!result.ok()) return push.Abandon(result.status());
  if (!options.wait || result->job.empty()) return result;
  const absl::StatusOr<v1::Job> job =
      client.WatchJob(result->job, options.on_job, options.interrupt, options.on_stall);
  if (!job.ok() && IsInterrupted(options)) {
    return Interrupted(absl::StrCat("model ", result->model.name(), " (id:", result->model.id(),
                                    ") is uploaded, its job ", result->job, " goes on"));
  }
  WDELTA_RETURN_IF_ERROR(job.status());
  WDELTA_RETURN_IF_ERROR(JobResult(*job));
  absl::StatusOr<v1::Model> stored = push.GetModel(result->model.id());
  if (!stored.ok()) {
    const std::string is_stored =
        absl::StrCat("model ", result->model.name(), " (id:", result->model.id(), ") is stored");
    return IsInterrupted(options) ? Interrupted(is_stored) : Annotate(stored.status(), is_stored);
  }
  result->model = *std::move(stored);
  return result;
}

}  // namespace

absl::StatusOr<PushResult> PushCheckpoint(Client& client, const std::string& folder,
                                          const PushOptions& options) {
  WDELTA_ASSIGN_OR_RETURN(std::vector<LocalFile> files,
                          ListCheckpointFiles(folder, options.exclude));
  WDELTA_RETURN_IF_ERROR(CheckLocalCheckpoint(files));
  return PushFiles(client, std::move(files), v1::CHECKPOINT, options);
}

absl::StatusOr<PushResult> PushDelta(Client& client, const std::string& file_name,
                                     const PushOptions& options) {
  WDELTA_ASSIGN_OR_RETURN(LocalFile file, DescribeFile(file_name, "model.wdelta"));
  WDELTA_ASSIGN_OR_RETURN(const auto opened, OpenLocalFile(file_name));
  WDELTA_RETURN_IF_ERROR(CheckIsDelta(file_name, *opened));
  return PushFiles(client, {std::move(file)}, v1::WDELTA, options);
}

}  // namespace wdelta

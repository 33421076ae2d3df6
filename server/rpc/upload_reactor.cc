#include "server/rpc/upload_reactor.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/rpc_call.h"
#include "server/rpc/status_map.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

// Of a piece that names content of the store instead of carrying bytes.
absl::StatusOr<Digest> ContentOf(const v1::WriteEntriesRequest& piece, const std::string& path) {
  if (!piece.data().empty()) {
    return MakeError(absl::StatusCode::kInvalidArgument, "DATA_AND_COPY",
                     absl::StrCat(path, ": piece at offset ", piece.offset(),
                                  ": expected either data or copy, found both"),
                     {{"path", path}});
  }
  absl::StatusOr<Digest> digest = Digest::FromHex(piece.copy().sha256());
  if (digest.ok()) return digest;
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_DIGEST",
                   absl::StrCat(path, ": piece at offset ", piece.offset(),
                                ": copy.sha256: expected 64 lower-case hex digits, found '",
                                piece.copy().sha256(), "'"),
                   {{"path", path}});
}

absl::Status CheckPath(const std::string& path) {
  if (!path.empty()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kInvalidArgument, "NO_PATH",
                   "path: expected in the first piece of a stream, found none");
}

absl::Status CheckPiece(const v1::WriteEntriesRequest& piece, const std::string& path) {
  if (piece.data().size() > limits::kMaxPieceBytes) {
    return MakeError(absl::StatusCode::kInvalidArgument, "PIECE_TOO_LARGE",
                     absl::StrCat(path, ": piece at offset ", piece.offset(), ": expected at most ",
                                  limits::kMaxPieceBytes, " bytes, found ", piece.data().size()),
                     {{"path", path}});
  }
  const uint32_t found = Crc32c(piece.data());
  if (found != piece.crc32c()) {
    return MakeError(absl::StatusCode::kDataLoss, "BAD_CRC",
                     absl::StrCat(path, ": piece at offset ", piece.offset(), ": expected crc32c ",
                                  absl::Hex(piece.crc32c()), ", found ", absl::Hex(found)),
                     {{"path", path}, {"offset", absl::StrCat(piece.offset())}});
  }
  return absl::OkStatus();
}

// Waiting for a place, reading, writing a piece and finishing follow one another strictly: the
// first read starts when the queue has given the place, another when the task of the last piece is
// over, and a task's last act is to start a read or to finish. So nothing needs a lock, and no task
// runs when OnDone comes. Of those who may end the wait, the queue lets one.
class UploadReactor final : public grpc::ServerReadReactor<v1::WriteEntriesRequest> {
 public:
  UploadReactor(RpcEnvironment* environment, grpc::CallbackServerContext* context,
                v1::WriteEntriesResponse* response)
      : environment_(*environment),
        context_(*context),
        response_(response),
        token_(environment->active_calls().Enter()),
        call_(environment, "Uploads.WriteEntries", context) {
    if (!call_.access().ok()) {
      End(call_.access());
      return;
    }
    if (const absl::Status serving = environment->CheckServing(); !serving.ok()) {
      End(serving);
      return;
    }
    // gRPC deletes nothing before it has been given this, however soon another thread goes on.
    ticket_ = environment->write_streams().Enter(
        0, [this](absl::StatusOr<AdmissionQueue::Slot> slot) { Begin(std::move(slot)); });
  }

  void OnReadDone(bool ok) override {
    if (ok) {
      environment_.ScheduleWrite([this] { TakePiece(); });
    } else {
      environment_.ScheduleWrite([this] { TakeEnd(); });
    }
  }

  // Who does not wait hears of it from the next read.
  void OnCancel() override {
    if (environment_.write_streams().Leave(ticket_)) {
      End(absl::CancelledError("the client went away"));
    }
  }

  void OnDone() override { delete this; }

 private:
  void Begin(absl::StatusOr<AdmissionQueue::Slot> slot) {
    if (!slot.ok()) {
      End(slot.status());
      return;
    }
    slot_.emplace(*std::move(slot));
    StartRead(&piece_);
  }

  void TakePiece() {
    const absl::Status status = WritePiece();
    if (!status.ok()) {
      Fail(status);
    } else if (piece_.has_copy()) {
      GoOnCopying();
    } else {
      StartRead(&piece_);
    }
  }

  // One step of a copy; other streams have their turn before the next.
  void GoOnCopying() {
    const absl::StatusOr<bool> is_done =
        writer_->CopyStep([this] { return context_.IsCancelled(); });
    if (!is_done.ok()) {
      Fail(is_done.status());
    } else if (*is_done) {
      StartRead(&piece_);
    } else {
      environment_.ScheduleWrite([this] { GoOnCopying(); });
    }
  }

  void Fail(const absl::Status& status) {
    // What went well before is kept: the client asks how far it got.
    if (writer_ != nullptr) (void)writer_->Sync();
    End(status);
  }

  absl::Status WritePiece() {
    if (writer_ == nullptr) {
      WDELTA_RETURN_IF_ERROR(call_.CheckRequest(piece_));
      WDELTA_ASSIGN_OR_RETURN(
          writer_, environment_.store().uploads().OpenWriter(piece_.upload(), call_.name_check()));
    }
    if (!piece_.path().empty()) path_ = piece_.path();
    WDELTA_RETURN_IF_ERROR(CheckPath(path_));
    if (piece_.has_copy()) {
      WDELTA_ASSIGN_OR_RETURN(const Digest content, ContentOf(piece_, path_));
      return writer_->StartCopy(path_, piece_.offset(), content, piece_.copy().size_bytes());
    }
    WDELTA_RETURN_IF_ERROR(CheckPiece(piece_, path_));
    environment_.stats().received_bytes.fetch_add(piece_.data().size(), std::memory_order_relaxed);
    return writer_->Write(path_, piece_.offset(), piece_.data());
  }

  // The client has sent all, or is gone; in either case what came is made durable.
  void TakeEnd() {
    if (writer_ == nullptr) {  // no piece came: a checkpoint of empty files, say
      End(absl::OkStatus());
      return;
    }
    const absl::StatusOr<uint64_t> durable_bytes = writer_->Sync();
    if (durable_bytes.ok()) response_->set_durable_bytes(*durable_bytes);
    End(durable_bytes.status());
  }

  void End(const absl::Status& status) {
    // Entries are free again before the client hears of the end.
    writer_.reset();
    slot_.reset();  // whoever hears of the end may come again
    call_.Done(status);
    Finish(ToGrpcStatus(status));
  }

  RpcEnvironment& environment_;
  grpc::CallbackServerContext& context_;
  v1::WriteEntriesResponse* const response_;
  const ActiveCalls::Token token_;
  RpcCall call_;
  AdmissionQueue::Ticket ticket_ = AdmissionQueue::kNoTicket;
  std::optional<AdmissionQueue::Slot> slot_;
  v1::WriteEntriesRequest piece_;
  std::string path_;  // that pieces without one belong to
  std::unique_ptr<UploadWriter> writer_;
};

}  // namespace

grpc::ServerReadReactor<v1::WriteEntriesRequest>* StartUploadReactor(
    RpcEnvironment* environment, grpc::CallbackServerContext* context,
    v1::WriteEntriesResponse* response) {
  return new UploadReactor(environment, context, response);
}

}  // namespace wdelta

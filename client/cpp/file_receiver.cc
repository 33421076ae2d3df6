#include "client/cpp/file_receiver.h"

#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/bounded_queue.h"
#include "client/cpp/piece_checks.h"
#include "client/cpp/rpc_status.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using Message = std::shared_ptr<const v1::FetchFileResponse>;
using Reader = grpc::ClientReader<v1::FetchFileResponse>;

constexpr size_t kQueuedPieces = 6;
constexpr char kTruncated[] = "TRUNCATED_STREAM";

// A thread that takes pieces in order until one fails.
class Stage {
 public:
  using Work = std::function<absl::Status(absl::string_view)>;

  explicit Stage(Work work) : queue_(kQueuedPieces), work_(std::move(work)) {
    thread_ = std::thread([this] { Run(); });
  }
  ~Stage() {
    queue_.Abandon();
    if (thread_.joinable()) thread_.join();
  }

  // False once the work has failed.
  bool Push(Message message) { return queue_.Push(std::move(message)); }
  // Waits until all is done.
  absl::Status Finish() {
    queue_.Close();
    if (thread_.joinable()) thread_.join();
    return status_;
  }

 private:
  void Run() {
    while (const auto message = queue_.Pop()) {
      status_ = work_((*message)->piece().data());
      if (!status_.ok()) return queue_.Abandon();
    }
  }

  BoundedQueue<Message> queue_;
  const Work work_;
  absl::Status status_;  // of the thread, until it is joined
  std::thread thread_;
};

absl::Status CheckHeader(const ExpectedFile& expected, const v1::FetchFileResponse& message) {
  if (!message.has_header()) {
    return PieceError(expected.path, "PIECE_OUT_OF_PLACE", "expected a header first, found none");
  }
  const v1::FileHeader& header = message.header();
  if (header.size_bytes() != expected.size_bytes || header.offset() != expected.offset ||
      header.length() != expected.size_bytes - expected.offset) {
    return PieceError(expected.path, "SIZE_MISMATCH",
                      absl::StrCat("expected the rest of ", expected.size_bytes, " bytes from ",
                                   expected.offset, ", the server has ", header.size_bytes(),
                                   " and sends ", header.length(), " from ", header.offset()));
  }
  return absl::OkStatus();
}

// The trailer, all pieces before it having been given to `on_piece`.
absl::StatusOr<v1::Trailer> ReadPieces(Reader& reader, const ExpectedFile& expected,
                                       const std::function<absl::Status(Message)>& on_piece) {
  PieceChecker checker(expected.path, expected.offset, expected.size_bytes - expected.offset);
  bool has_header = false;
  while (true) {
    auto message = std::make_shared<v1::FetchFileResponse>();
    if (!reader.Read(message.get())) {
      return PieceError(
          expected.path, kTruncated,
          absl::StrCat("the stream ended without its trailer after ", checker.received_bytes(),
                       " of ", expected.size_bytes - expected.offset, " bytes"));
    }
    if (!has_header) {
      WDELTA_RETURN_IF_ERROR(CheckHeader(expected, *message));
      has_header = true;
      continue;
    }
    if (message->has_trailer()) {
      WDELTA_RETURN_IF_ERROR(checker.CheckTrailer(message->trailer()));
      return message->trailer();
    }
    if (!message->has_piece()) {
      return PieceError(expected.path, "PIECE_OUT_OF_PLACE",
                        "expected a piece or the trailer, found something else");
    }
    WDELTA_RETURN_IF_ERROR(checker.Check(message->piece()));
    WDELTA_RETURN_IF_ERROR(on_piece(std::move(message)));
  }
}

absl::Status ReceiveAndCheck(Reader& reader, const ExpectedFile& expected, Sha256Hasher* hasher,
                             PartFile& part, const std::function<void(uint64_t)>& on_bytes) {
  Stage hashing([hasher](absl::string_view data) {
    hasher->Update(data);
    return absl::OkStatus();
  });
  Stage writing([&part](absl::string_view data) { return part.Append(data); });
  const absl::StatusOr<v1::Trailer> trailer =
      ReadPieces(reader, expected, [&](Message message) -> absl::Status {
        const uint64_t size_bytes = message->piece().data().size();
        if (hasher != nullptr) hashing.Push(message);
        if (!writing.Push(std::move(message))) return writing.Finish();
        if (on_bytes) on_bytes(size_bytes);
        return absl::OkStatus();
      });
  if (!trailer.ok()) {
    // What has come is written all the same: a later transfer may go on with it.
    writing.Finish().IgnoreError();
    return trailer.status();
  }
  WDELTA_RETURN_IF_ERROR(hashing.Finish());
  WDELTA_RETURN_IF_ERROR(writing.Finish());
  if (hasher == nullptr) return absl::OkStatus();
  const PieceChecker whole(expected.path, 0, expected.size_bytes);
  const std::string found = hasher->Current().ToHex();
  WDELTA_RETURN_IF_ERROR(whole.CheckSha256(expected.sha256, found));
  return whole.CheckSha256(trailer->sha256(), found);
}

}  // namespace

absl::Status ReceiveFile(grpc::ClientContext& context, Reader& reader, const ExpectedFile& expected,
                         Sha256Hasher* hasher, PartFile& part,
                         const std::function<void(uint64_t)>& on_bytes) {
  absl::Status status = ReceiveAndCheck(reader, expected, hasher, part, on_bytes);
  v1::FetchFileResponse extra;
  if (status.ok() && reader.Read(&extra)) {
    status = PieceError(expected.path, "PIECE_OUT_OF_PLACE", "expected nothing after the trailer");
  }
  const bool truncated = ErrorReason(status) == kTruncated;
  if (!status.ok() && !truncated) context.TryCancel();
  const absl::Status ended = FromGrpcStatus(reader.Finish());
  if (status.ok() || (truncated && !ended.ok())) return ended;
  return status;
}

}  // namespace wdelta

#include "client/cpp/fetch_tensors.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "client/cpp/piece_checks.h"
#include "client/cpp/rpc_status.h"
#include "storage/base/digest.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

// Takes the messages of one stream.
class TensorReceiver {
 public:
  TensorReceiver(const TensorSink& sink, Verify verify) : sink_(sink), verify_(verify) {}

  absl::Status Take(const v1::FetchTensorsResponse& message) {
    if (message.has_header() && !checker_.has_value()) return Begin(message.header());
    if (message.has_piece() && checker_.has_value()) return TakePiece(message.piece());
    if (message.has_trailer() && checker_.has_value()) return End(message.trailer());
    return PieceError(Subject(), "PIECE_OUT_OF_PLACE", "header, piece or trailer out of order");
  }

  absl::Status Finish() const {
    if (!checker_.has_value()) return absl::OkStatus();
    return PieceError(Subject(), "TRUNCATED_STREAM", "the stream ended without its trailer");
  }

 private:
  std::string Subject() const {
    return checker_.has_value() ? checker_->subject() : "stream of tensors";
  }

  absl::Status Begin(const v1::TensorHeader& header) {
    checker_.emplace(absl::StrCat("tensor ", header.name()), 0, header.size_bytes());
    hasher_ = Sha256Hasher();
    return sink_.on_tensor ? sink_.on_tensor(header) : absl::OkStatus();
  }

  absl::Status TakePiece(const v1::Piece& piece) {
    WDELTA_RETURN_IF_ERROR(checker_->Check(piece));
    if (verify_ == Verify::kSha256) hasher_.Update(piece.data());
    return sink_.on_bytes(piece.data());
  }

  absl::Status End(const v1::Trailer& trailer) {
    WDELTA_RETURN_IF_ERROR(checker_->CheckTrailer(trailer));
    if (verify_ == Verify::kSha256) {
      WDELTA_RETURN_IF_ERROR(checker_->CheckSha256(trailer.sha256(), hasher_.Current().ToHex()));
    }
    checker_.reset();
    return sink_.on_end ? sink_.on_end() : absl::OkStatus();
  }

  const TensorSink& sink_;
  const Verify verify_;
  std::optional<PieceChecker> checker_;  // within a tensor
  Sha256Hasher hasher_;
};

}  // namespace

absl::Status FetchTensors(Client& client, const std::string& model,
                          const std::vector<std::string>& name_patterns, const TensorSink& sink,
                          Verify verify) {
  v1::FetchTensorsRequest request;
  request.set_model(model);
  for (const std::string& pattern : name_patterns) request.add_name_patterns(pattern);
  grpc::ClientContext context;
  const auto reader = client.fetch().FetchTensors(&context, request);
  TensorReceiver receiver(sink, verify);
  v1::FetchTensorsResponse message;
  while (reader->Read(&message)) {
    const absl::Status status = receiver.Take(message);
    if (!status.ok()) {
      context.TryCancel();
      reader->Finish();
      return status;
    }
  }
  WDELTA_RETURN_IF_ERROR(FromGrpcStatus(reader->Finish()));
  return receiver.Finish();
}

}  // namespace wdelta

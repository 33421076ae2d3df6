#include "client/cpp/fetch_tensors.h"

#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/piece_checks.h"
#include "client/cpp/rpc_status.h"
#include "client/cpp/transfer_retries.h"
#include "google/protobuf/util/message_differencer.h"
#include "storage/base/digest.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr absl::string_view kIdPrefix = "id:";

// How many bytes follow a header. Servers that know no slices do not say.
uint64_t LengthOf(const v1::TensorHeader& header) {
  const bool is_untold = header.offset() == 0 && header.length() == 0 && !header.has_slice();
  return is_untold ? header.size_bytes() : header.length();
}

// Whether `later` goes on with the tensor of `first`.
bool IsSameTensor(v1::TensorHeader first, v1::TensorHeader later) {
  for (v1::TensorHeader* const header : {&first, &later}) {
    header->clear_offset();
    header->clear_length();
  }
  return google::protobuf::util::MessageDifferencer::Equals(first, later);
}

// Takes the messages of a stream that may come in several parts, each of which begins where
// the one before it broke off.
class TensorReceiver {
 public:
  TensorReceiver(const TensorSink& sink, Verify verify, uint64_t first_tensor,
                 uint64_t first_tensor_offset)
      : sink_(sink), verify_(verify), tensor_(first_tensor), offset_(first_tensor_offset) {}

  // Where the next part is to begin.
  uint64_t tensor() const { return tensor_; }
  uint64_t offset() const { return offset_; }
  // Grows with every byte of a tensor, and with every tensor that is whole.
  uint64_t progress() const { return progress_; }

  void BeginPart() { checker_.reset(); }

  absl::Status Take(const v1::FetchTensorsResponse& message) {
    if (message.has_header() && !checker_.has_value()) return Begin(message.header());
    if (message.has_piece() && checker_.has_value()) return TakePiece(message.piece());
    if (message.has_trailer() && checker_.has_value()) return End(message.trailer());
    return PieceError(Subject(), "PIECE_OUT_OF_PLACE", "header, piece or trailer out of order");
  }

  absl::Status Finish() const {
    if (!checker_.has_value() && !header_.has_value()) return absl::OkStatus();
    return PieceError(Subject(), "TRUNCATED_STREAM", "the stream ended without its trailer");
  }

 private:
  std::string Subject() const {
    return checker_.has_value() ? checker_->subject() : "stream of tensors";
  }

  absl::Status Begin(const v1::TensorHeader& header) {
    const std::string subject = absl::StrCat("tensor ", header.name());
    const bool is_known = header_.has_value();
    if (header.offset() != offset_ || (is_known && !IsSameTensor(*header_, header))) {
      return PieceError(subject, "TENSOR_CHANGED",
                        absl::StrCat("expected the stream to go on with ",
                                     is_known ? header_->name() : "the next tensor", " at offset ",
                                     offset_, ", found offset ", header.offset()));
    }
    checker_.emplace(subject, header.offset(), LengthOf(header));
    if (is_known) return absl::OkStatus();
    header_ = header;
    hasher_ = Sha256Hasher();
    return sink_.on_tensor ? sink_.on_tensor(header) : absl::OkStatus();
  }

  absl::Status TakePiece(const v1::Piece& piece) {
    WDELTA_RETURN_IF_ERROR(checker_->Check(piece));
    offset_ += piece.data().size();
    progress_ += piece.data().size();
    if (verify_ == Verify::kSha256) hasher_.Update(piece.data());
    return sink_.on_bytes(piece.data());
  }

  absl::Status End(const v1::Trailer& trailer) {
    WDELTA_RETURN_IF_ERROR(checker_->CheckTrailer(trailer));
    if (verify_ == Verify::kSha256) {
      WDELTA_RETURN_IF_ERROR(checker_->CheckSha256(trailer.sha256(), hasher_.Current().ToHex()));
    }
    checker_.reset();
    header_.reset();
    ++tensor_;
    ++progress_;
    offset_ = 0;
    return sink_.on_end ? sink_.on_end() : absl::OkStatus();
  }

  const TensorSink& sink_;
  const Verify verify_;
  uint64_t tensor_;                         // of the whole stream, that is received
  uint64_t offset_;                         // of it, that comes next
  uint64_t progress_ = 0;                   // of all parts
  std::optional<v1::TensorHeader> header_;  // of a tensor that is not whole yet
  std::optional<PieceChecker> checker_;     // within a tensor of this part
  Sha256Hasher hasher_;
};

absl::Status PinModel(Client& client, std::string* reference) {
  if (absl::StartsWith(*reference, kIdPrefix)) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(const v1::Model model, client.GetModelToFetch(*reference));
  *reference = absl::StrCat(kIdPrefix, model.id());
  return absl::OkStatus();
}

absl::Status ReceivePart(Client& client, const v1::FetchTensorsRequest& request,
                         Interrupt& interrupt, StallReport::Transfer& stall,
                         TensorReceiver& receiver, bool& is_of_server) {
  grpc::ClientContext context;
  const Interrupt::Scope scope(&interrupt, &context);
  const auto reader = client.fetch().FetchTensors(&context, request);
  receiver.BeginPart();
  v1::FetchTensorsResponse message;
  while (reader->Read(&message)) {
    const absl::Status status = receiver.Take(message);
    if (!message.has_header()) stall.GoesOn();
    if (!status.ok()) {
      is_of_server = false;
      context.TryCancel();
      reader->Finish();
      return status;
    }
  }
  is_of_server = true;
  return FromGrpcStatus(reader->Finish());
}

}  // namespace

absl::Status FetchTensors(Client& client, v1::FetchTensorsRequest request, const TensorSink& sink,
                          const FetchTensorsOptions& options) {
  WDELTA_RETURN_IF_ERROR(PinModel(client, request.mutable_model()));
  for (v1::TensorSelection& selection : *request.mutable_further_selections()) {
    WDELTA_RETURN_IF_ERROR(PinModel(client, selection.mutable_model()));
  }
  TensorReceiver receiver(sink, options.verify, request.first_tensor(),
                          request.first_tensor_offset());
  StallReport stalls(options.on_stall);
  StallReport::Transfer stall(stalls);
  TransferRetries retries(options, stall);
  Interrupt never;
  Interrupt& interrupt = options.interrupt != nullptr ? *options.interrupt : never;
  while (true) {
    const uint64_t progress_before = receiver.progress();
    bool is_of_server = false;
    request.set_first_tensor(receiver.tensor());
    request.set_first_tensor_offset(receiver.offset());
    const absl::Status status =
        ReceivePart(client, request, interrupt, stall, receiver, is_of_server);
    if (status.ok()) {
      stall.GoesOn();
      return receiver.Finish();
    }
    // A refusal of the sink is no reason to try again, whatever its code.
    if (!is_of_server) return status;
    // A header alone is no progress: a server that gets no further would be asked for ever.
    if (receiver.progress() > progress_before) retries.Reset();
    const std::optional<absl::Duration> pause = retries.Next(status);
    if (!pause.has_value() || interrupt.IsTriggered()) return status;
    AwaitRetry(client, *pause, interrupt);
  }
}

absl::Status FetchTensors(Client& client, const std::string& model,
                          const std::vector<std::string>& name_patterns, const TensorSink& sink,
                          Verify verify) {
  v1::FetchTensorsRequest request;
  request.set_model(model);
  for (const std::string& pattern : name_patterns) request.add_name_patterns(pattern);
  return FetchTensors(client, std::move(request), sink, {.verify = verify});
}

}  // namespace wdelta

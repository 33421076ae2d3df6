#include "server/rpc/piece_message.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/wire_format_lite.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/slice.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

using google::protobuf::internal::WireFormatLite;

// Memory of a slice of gRPC, which ends in whatever thread lets go of it last.
struct SentBytes {
  std::string bytes;
  std::shared_ptr<PieceBuffers> buffers;
};

void EndSentBytes(void* pointer) {
  const std::unique_ptr<SentBytes> sent(static_cast<SentBytes*>(pointer));
  sent->buffers->Give(std::move(sent->bytes));
}

grpc::Slice SliceOf(std::string bytes, const std::shared_ptr<PieceBuffers>& buffers) {
  auto sent = std::make_unique<SentBytes>(SentBytes{std::move(bytes), buffers});
  std::string& held = sent->bytes;
  return grpc::Slice(held.data(), held.size(), EndSentBytes, sent.release());
}

// The piece comes last in its message, and `data` last in the piece: all that stands before
// the bytes is one slice. Fields may come in any order (Protocol Buffers, "Encoding").
template <typename Response>
grpc::ByteBuffer SerializeWithPiece(Response& message,
                                    const std::shared_ptr<PieceBuffers>& buffers) {
  if (!message.has_piece()) {
    const std::string bytes = message.SerializeAsString();
    const grpc::Slice slice(bytes);
    return grpc::ByteBuffer(&slice, 1);
  }
  std::string data = std::move(*message.mutable_piece()->mutable_data());
  message.mutable_piece()->clear_data();
  const std::string fields = message.piece().SerializeAsString();
  using google::protobuf::io::CodedOutputStream;
  const uint32_t data_tag = WireFormatLite::MakeTag(v1::Piece::kDataFieldNumber,
                                                    WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  const uint32_t piece_tag = WireFormatLite::MakeTag(Response::kPieceFieldNumber,
                                                     WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  const uint64_t piece_bytes = fields.size() + CodedOutputStream::VarintSize32(data_tag) +
                               CodedOutputStream::VarintSize64(data.size()) + data.size();
  std::string before;
  {
    google::protobuf::io::StringOutputStream stream(&before);
    CodedOutputStream out(&stream);
    out.WriteTag(piece_tag);
    out.WriteVarint64(piece_bytes);
    out.WriteString(fields);
    out.WriteTag(data_tag);
    out.WriteVarint64(data.size());
  }
  const grpc::Slice slices[] = {grpc::Slice(before), SliceOf(std::move(data), buffers)};
  return grpc::ByteBuffer(slices, 2);
}

}  // namespace

grpc::ByteBuffer SerializePiece(v1::FetchFileResponse& message,
                                const std::shared_ptr<PieceBuffers>& buffers) {
  return SerializeWithPiece(message, buffers);
}

grpc::ByteBuffer SerializePiece(v1::FetchTensorsResponse& message,
                                const std::shared_ptr<PieceBuffers>& buffers) {
  return SerializeWithPiece(message, buffers);
}

absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& request) {
  grpc::ByteBuffer copy(bytes);
  const grpc::Status status =
      grpc::GenericDeserialize<grpc::ProtoBufferReader, google::protobuf::Message>(&copy, &request);
  if (status.ok()) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kInvalidArgument, "BAD_REQUEST",
      absl::StrCat("request: expected a ", request.GetTypeName(), ", found other bytes"));
}

}  // namespace wdelta

// Messages of fetches as gRPC sends them, without a copy of their pieces.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "grpcpp/support/byte_buffer.h"
#include "storage/engine/content/piece_buffers.h"
#include "wdelta/v1/fetch.pb.h"

namespace wdelta {

// The serialised message. Takes the bytes of a piece out of it; their memory goes back to
// `buffers` when they are sent.
grpc::ByteBuffer SerializePiece(v1::FetchFileResponse& message,
                                const std::shared_ptr<PieceBuffers>& buffers);
grpc::ByteBuffer SerializePiece(v1::FetchTensorsResponse& message,
                                const std::shared_ptr<PieceBuffers>& buffers);

// INVALID_ARGUMENT (`BAD_REQUEST`) when the bytes are no such message.
absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message& request);

}  // namespace wdelta

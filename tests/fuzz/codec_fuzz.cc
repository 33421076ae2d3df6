// ChunkCodec::Decode on any payload, against the reference decoder; then what the
// encoder makes of the decoded bytes must come back.
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string>

#include "storage/codec/codec.h"
#include "storage/codec/reference/reference_decoder.h"

namespace {

using namespace wdelta;  // NOLINT: a program of one function

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kControlBytes = 5;
  if (size < kControlBytes) return 0;
  const int lane_bytes = 1 << (data[0] & 3);
  const LaneFormat format{lane_bytes, (data[0] & 4) != 0, (data[0] >> 3) % (8 * lane_bytes)};
  constexpr ChunkMode kModes[] = {
      ChunkMode::kRaw,          ChunkMode::kSame,   ChunkMode::kConst,      ChunkMode::kPlanes,
      ChunkMode::kDeltaPlanes,  ChunkMode::kDirect, ChunkMode::kSparse,     ChunkMode::kQuantised,
      ChunkMode::kContextDelta, ChunkMode::kOneBit, ChunkMode::kScaledDelta};
  const ChunkMode mode = kModes[data[1] % std::size(kModes)];
  const size_t decoded_bytes = data[2] | (data[3] & 3) << 8;
  const size_t parent_bytes = decoded_bytes * data[4] / 255;
  const absl::string_view payload(reinterpret_cast<const char*>(data) + kControlBytes,
                                  size - kControlBytes);
  std::string parent(parent_bytes, '\0');
  for (size_t i = 0; i < parent.size(); ++i) parent[i] = static_cast<char>(i * 37 + data[4]);

  ChunkCodec codec;
  std::string decoded(decoded_bytes, '\0');
  const absl::Status status =
      codec.Decode(format, mode, payload, parent, decoded.data(), decoded.size());
  const absl::StatusOr<std::string> reference =
      ReferenceDecode(format, mode, payload, parent, decoded_bytes);
  Require(status.ok() == reference.ok());
  if (!status.ok()) return 0;
  Require(decoded == *reference);

  const Effort effort = (data[3] & 4) != 0 ? Effort::kMax : Effort::kFast;
  const ChunkGeometry geometry{static_cast<uint64_t>(data[3] >> 3), data[4]};
  const absl::StatusOr<EncodedChunk> chunk =
      codec.Encode(format, decoded, parent, effort, geometry);
  Require(chunk.ok() && chunk->payload.size() <= decoded.size());
  std::string again(decoded_bytes, '\0');
  Require(
      codec.Decode(format, chunk->mode, chunk->payload, parent, again.data(), again.size()).ok());
  Require(again == decoded);
  return 0;
}

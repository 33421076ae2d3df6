#include "tests/bench/lossless_schemes.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/string_view.h"
#include "storage/base/limits.h"
#include "tests/bench/fail.h"
#include "tests/bench/timers.h"

namespace wdelta::bench {
namespace {

std::optional<absl::string_view> ParentChunk(const TensorPair& tensor, size_t at) {
  if (tensor.parent.empty()) return std::nullopt;
  return absl::string_view(tensor.parent).substr(at, limits::kChunkBytes);
}

void XorInto(const std::string& parent, std::string& bytes) {
  const char* __restrict from = parent.data();
  char* __restrict to = bytes.data();
  for (size_t i = 0; i < parent.size(); ++i) to[i] = static_cast<char>(to[i] ^ from[i]);
}

template <class Lane>
Lane RotateLeft(Lane lane) {
  return static_cast<Lane>((lane << 1) | (lane >> (8 * sizeof(Lane) - 1)));
}
template <class Lane>
Lane RotateRight(Lane lane) {
  return static_cast<Lane>((lane >> 1) | (lane << (8 * sizeof(Lane) - 1)));
}

// Plane p of `planes` gets byte p of every lane; or the reverse.
template <class Lane, bool kRotated>
void Split(const std::string& bytes, std::string& planes) {
  const size_t lanes = bytes.size() / sizeof(Lane);
  for (size_t i = 0; i < lanes; ++i) {
    Lane lane;
    std::memcpy(&lane, &bytes[i * sizeof(Lane)], sizeof(Lane));
    if constexpr (kRotated) lane = RotateLeft(lane);
    for (size_t p = 0; p < sizeof(Lane); ++p) {
      planes[p * lanes + i] = static_cast<char>(lane >> (8 * p));
    }
  }
}
template <class Lane, bool kRotated>
void Merge(const std::string& planes, std::string& bytes) {
  const size_t lanes = bytes.size() / sizeof(Lane);
  for (size_t i = 0; i < lanes; ++i) {
    Lane lane = 0;
    for (size_t p = 0; p < sizeof(Lane); ++p) {
      lane = static_cast<Lane>(lane | Lane{static_cast<uint8_t>(planes[p * lanes + i])} << (8 * p));
    }
    if constexpr (kRotated) lane = RotateRight(lane);
    std::memcpy(&bytes[i * sizeof(Lane)], &lane, sizeof(Lane));
  }
}

// Calls `work` with a lane of the element's size and whether it is rotated.
template <class Work>
void WithLane(DType dtype, Planes planes, Work work) {
  const bool rotated = planes == Planes::kExponentSign && IsSignMagnitude(dtype);
  switch (LaneBytes(dtype)) {
    case 2:
      return rotated ? work(uint16_t{}, std::true_type()) : work(uint16_t{}, std::false_type());
    case 4:
      return rotated ? work(uint32_t{}, std::true_type()) : work(uint32_t{}, std::false_type());
    case 8:
      return rotated ? work(uint64_t{}, std::true_type()) : work(uint64_t{}, std::false_type());
    default:
      return work(uint8_t{}, std::false_type());
  }
}

struct ZstdState {
  std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> compressor{ZSTD_createCCtx(), &ZSTD_freeCCtx};
  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> decompressor{ZSTD_createDCtx(),
                                                                  &ZSTD_freeDCtx};
  std::string delta;
  std::string planes;
  std::string frame;
};

double SecondsOf(const std::function<void()>& work) {
  const double start = ThreadSeconds();
  work();
  return ThreadSeconds() - start;
}

// Blocks of the planes of one tensor, in order: calls `work` with position and size.
void VisitBlocks(size_t plane_bytes, int planes, size_t block_bytes,
                 const std::function<void(size_t, size_t)>& work) {
  for (int p = 0; p < planes; ++p) {
    for (size_t at = 0; at < plane_bytes; at += block_bytes) {
      work(p * plane_bytes + at, std::min(block_bytes, plane_bytes - at));
    }
  }
}

}  // namespace

Scheme ChunkCodecScheme(Effort effort) {
  const auto codec = std::make_shared<ChunkCodec>();
  Scheme scheme;
  scheme.encode = [codec, effort](const TensorPair& tensor) {
    const LaneFormat format = LaneFormatOf(tensor.dtype);
    std::vector<EncodedChunk> chunks;
    for (size_t at = 0; at < tensor.target.size(); at += limits::kChunkBytes) {
      const absl::string_view target =
          absl::string_view(tensor.target).substr(at, limits::kChunkBytes);
      const ChunkGeometry geometry{tensor.row_weights, at / format.lane_bytes};
      chunks.push_back(
          ValueOrDie(codec->Encode(format, target, ParentChunk(tensor, at), effort, geometry)));
    }
    return chunks;
  };
  scheme.decode = [codec](const TensorPair& tensor, const std::vector<EncodedChunk>& chunks,
                          std::string& out) {
    size_t at = 0;
    for (const EncodedChunk& chunk : chunks) {
      const size_t size = std::min<size_t>(limits::kChunkBytes, out.size() - at);
      DieUnlessOk(codec->Decode(LaneFormatOf(tensor.dtype), chunk.mode, chunk.payload,
                                ParentChunk(tensor, at), &out[at], size));
      at += size;
    }
  };
  return scheme;
}

Scheme XorZstdScheme(Planes planes, int level, size_t block_bytes) {
  const auto state = std::make_shared<ZstdState>();
  Scheme scheme;
  scheme.encode = [=](const TensorPair& tensor) {
    state->delta = tensor.target;
    XorInto(tensor.parent, state->delta);
    state->planes.resize(state->delta.size());
    WithLane(tensor.dtype, planes, [&](auto lane, auto rotated) {
      Split<decltype(lane), rotated>(state->delta, state->planes);
    });
    std::vector<EncodedChunk> chunks;
    const int lane_bytes = LaneBytes(tensor.dtype);
    VisitBlocks(state->delta.size() / lane_bytes, lane_bytes, block_bytes,
                [&](size_t at, size_t size) {
                  state->frame.resize(ZSTD_compressBound(size));
                  const size_t stored =
                      ZSTD_compressCCtx(state->compressor.get(), state->frame.data(),
                                        state->frame.size(), &state->planes[at], size, level);
                  if (ZSTD_isError(stored)) Die(ZSTD_getErrorName(stored));
                  chunks.push_back({ChunkMode::kPlanes, state->frame.substr(0, stored)});
                });
    return chunks;
  };
  scheme.decode = [=](const TensorPair& tensor, const std::vector<EncodedChunk>& chunks,
                      std::string& out) {
    const int lane_bytes = LaneBytes(tensor.dtype);
    state->planes.resize(out.size());
    size_t next = 0;
    VisitBlocks(out.size() / lane_bytes, lane_bytes, block_bytes, [&](size_t at, size_t size) {
      const std::string& frame = chunks[next++].payload;
      const size_t found = ZSTD_decompressDCtx(state->decompressor.get(), &state->planes[at], size,
                                               frame.data(), frame.size());
      if (found != size) Die("zstd: a block has another size than before");
    });
    WithLane(tensor.dtype, planes,
             [&](auto lane, auto rotated) { Merge<decltype(lane), rotated>(state->planes, out); });
    XorInto(tensor.parent, out);
  };
  return scheme;
}

Measured Measure(const Scheme& scheme, const CheckpointPair& pair, int rounds) {
  std::vector<std::string> outputs;
  for (const TensorPair& tensor : pair.tensors) outputs.emplace_back(tensor.target.size(), '\0');
  Measured result;
  for (int round = 0; round < rounds; ++round) {
    double encode_seconds = 0;
    double decode_seconds = 0;
    result.stored_bytes = 0;
    for (size_t t = 0; t < pair.tensors.size(); ++t) {
      const TensorPair& tensor = pair.tensors[t];
      std::vector<EncodedChunk> chunks;
      encode_seconds += SecondsOf([&] { chunks = scheme.encode(tensor); });
      decode_seconds += SecondsOf([&] { scheme.decode(tensor, chunks, outputs[t]); });
      for (const EncodedChunk& chunk : chunks) result.stored_bytes += chunk.payload.size();
      if (outputs[t] != tensor.target) Die(tensor.name + ": decoded bytes differ from the target");
    }
    const double gigabytes = static_cast<double>(pair.bytes) / 1e9;
    result.encode_gb_per_s = std::max(result.encode_gb_per_s, gigabytes / encode_seconds);
    result.decode_gb_per_s = std::max(result.decode_gb_per_s, gigabytes / decode_seconds);
  }
  return result;
}

}  // namespace wdelta::bench

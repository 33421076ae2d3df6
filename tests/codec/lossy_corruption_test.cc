// Damaged payloads of the lossy modes: refused or decoded to something, never written
// out of bounds.
#include <gtest/gtest.h>

#include "storage/codec/codec.h"
#include "tests/codec/lossy_deltas.h"

namespace wdelta {
namespace {

struct Encoded {
  DType dtype;
  Pair pair;
  EncodedChunk chunk;
};

std::vector<Encoded> Samples(std::mt19937_64& random) {
  ChunkCodec codec;
  std::vector<Encoded> samples;
  for (const DType dtype : kLossyDTypes) {
    for (const Strategy strategy : {Strategy::kNearLossless, Strategy::kOneBit}) {
      Pair pair = MakePair(random, dtype, 3000, 0.1);
      const LossyParams params{.strategy = strategy, .step = 0.0002};
      // Some deltas are stored whole.
      pair.target.replace(0, LaneBytes(dtype), LanesOf(dtype, {1.0}));
      LossyChunk lossy =
          *codec.EncodeLossy(dtype, {.row_weights = 500}, pair.target, pair.parent, params);
      samples.push_back({dtype, pair, std::move(lossy.chunk)});
    }
  }
  return samples;
}

// Decodes into a buffer with guards on both sides.
absl::Status DecodeGuarded(ChunkCodec& codec, const Encoded& sample, absl::string_view payload,
                           size_t size) {
  constexpr size_t kGuard = 64;
  std::string buffer(size + 2 * kGuard, '\x5a');
  const absl::string_view parent = absl::string_view(sample.pair.parent).substr(0, size);
  const absl::Status status = codec.Decode(LaneFormatOf(sample.dtype), sample.chunk.mode, payload,
                                           parent, buffer.data() + kGuard, size);
  EXPECT_EQ(buffer.substr(0, kGuard), std::string(kGuard, '\x5a'));
  EXPECT_EQ(buffer.substr(kGuard + size), std::string(kGuard, '\x5a'));
  EXPECT_TRUE(status.ok() || status.code() == absl::StatusCode::kDataLoss) << status;
  return status;
}

TEST(LossyCorruptionTest, PayloadsThatEndEarlyOrLateAreRefused) {
  std::mt19937_64 random(1);
  ChunkCodec codec;
  for (const Encoded& sample : Samples(random)) {
    SCOPED_TRACE(testing::Message()
                 << DTypeName(sample.dtype) << " " << ChunkModeName(sample.chunk.mode));
    const std::string& payload = sample.chunk.payload;
    const size_t size = sample.pair.target.size();
    EXPECT_TRUE(DecodeGuarded(codec, sample, payload, size).ok());
    for (size_t end = 0; end < payload.size(); end += 1 + end / 10) {
      EXPECT_FALSE(DecodeGuarded(codec, sample, payload.substr(0, end), size).ok()) << end;
    }
    EXPECT_FALSE(DecodeGuarded(codec, sample, payload + '\0', size).ok());
  }
}

TEST(LossyCorruptionTest, ChunksOfAnotherSizeAreRefused) {
  std::mt19937_64 random(2);
  ChunkCodec codec;
  for (const Encoded& sample : Samples(random)) {
    const size_t lane = LaneBytes(sample.dtype);
    for (const size_t size : {size_t{0}, lane, lane * 100, lane * 2991, lane * 3000 - 1}) {
      EXPECT_FALSE(DecodeGuarded(codec, sample, sample.chunk.payload, size).ok()) << size;
    }
  }
}

TEST(LossyCorruptionTest, AnotherDTypeIsRefused) {
  std::mt19937_64 random(3);
  ChunkCodec codec;
  for (const Encoded& sample : Samples(random)) {
    std::string payload = sample.chunk.payload;
    for (const DType other : {DType::kI16, DType::kU8, DType::kF32, DType::kF64, DType::kC64}) {
      if (LaneBytes(other) == LaneBytes(sample.dtype) && CanBeLossy(other)) continue;
      payload[0] = static_cast<char>(other);
      EXPECT_FALSE(DecodeGuarded(codec, sample, payload, sample.pair.target.size()).ok());
    }
    payload[0] = '\0';
    EXPECT_FALSE(DecodeGuarded(codec, sample, payload, sample.pair.target.size()).ok());
  }
}

TEST(LossyCorruptionTest, FlippedBytesNeverWriteOutOfBounds) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  ChunkCodec codec;
  for (const Encoded& sample : Samples(random)) {
    for (int round = 0; round < 300; ++round) {
      std::string payload = sample.chunk.payload;
      const size_t flips = 1 + random() % 4;
      // Headers and tables, more often than words.
      const size_t range = round % 2 == 0 ? std::min<size_t>(payload.size(), 200) : payload.size();
      for (size_t f = 0; f < flips; ++f) payload[random() % range] = static_cast<char>(random());
      (void)DecodeGuarded(codec, sample, payload, sample.pair.target.size());
      if (HasFailure()) return;
    }
  }
}

TEST(LossyCorruptionTest, StepsOutOfRangeAreRefused) {
  std::mt19937_64 random(4);
  ChunkCodec codec;
  for (const Encoded& sample : Samples(random)) {
    if (sample.chunk.mode != ChunkMode::kQuantised) continue;
    for (const double step :
         {0.0, -1.0, 1e-40, 1e40, static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
      std::string payload = sample.chunk.payload;
      std::memcpy(payload.data() + 1, &step, sizeof(step));
      EXPECT_FALSE(DecodeGuarded(codec, sample, payload, sample.pair.target.size()).ok()) << step;
    }
  }
}

}  // namespace
}  // namespace wdelta

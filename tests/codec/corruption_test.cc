// Payloads that no encoder made: never a crash, never a byte beyond the
// destination, and the same verdict from the codec and the reference decoder.
#include <gtest/gtest.h>
#include <zstd.h>

#include <random>

#include "storage/codec/codec.h"
#include "storage/codec/reference/reference_decoder.h"
#include "tests/codec/test_lanes.h"

namespace wdelta {
namespace {

constexpr ChunkMode kModes[] = {
    ChunkMode::kRaw,    ChunkMode::kSame,        ChunkMode::kConst,
    ChunkMode::kPlanes, ChunkMode::kDeltaPlanes, ChunkMode::kContextDelta,
    ChunkMode::kDirect, ChunkMode::kSparse,      ChunkMode::kScaledDelta};

// The verdict of both decoders on the same payload.
void CheckPayload(ChunkCodec& codec, LaneFormat format, ChunkMode mode, const std::string& payload,
                  const std::string& parent, size_t size) {
  std::string decoded(size + 16, '\x5a');
  const absl::Status status = codec.Decode(format, mode, payload, parent, decoded.data(), size);
  ASSERT_EQ(decoded.substr(size), std::string(16, '\x5a'));
  const absl::StatusOr<std::string> reference =
      ReferenceDecode(format, mode, payload, parent, size);
  ASSERT_EQ(status.ok(), reference.ok()) << status << " / " << reference.status();
  if (status.ok()) {
    ASSERT_EQ(decoded.substr(0, size), *reference);
  } else {
    ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  }
}

std::string Mutate(std::mt19937_64& random, std::string payload) {
  switch (random() % 4) {
    case 0:
      payload.resize(random() % (payload.size() + 1));
      break;
    case 1:
      payload += RandomBytes(random, 1 + random() % 8);
      break;
    case 2:
      if (!payload.empty()) payload.erase(random() % payload.size(), 1);
      break;
    default:
      break;
  }
  for (uint64_t flips = random() % 4; flips > 0 && !payload.empty(); --flips) {
    payload[random() % payload.size()] ^= static_cast<char>(1 << (random() % 8));
  }
  return payload;
}

TEST(CorruptionTest, MutatedPayloadsNeverHarm) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  ChunkCodec codec;
  for (const LaneFormat format : AllLaneFormats()) {
    for (const Pattern pattern : kAllPatterns) {
      const size_t size = 1 + random() % 2000;
      const std::string parent = RandomBytes(random, random() % (size + 1));
      const std::string target = MakeTarget(pattern, random, size, parent);
      const absl::StatusOr<EncodedChunk> chunk = codec.Encode(format, target, parent);
      ASSERT_TRUE(chunk.ok()) << chunk.status();
      for (int round = 0; round < 200; ++round) {
        const ChunkMode mode =
            random() % 4 == 0 ? kModes[random() % std::size(kModes)] : chunk->mode;
        CheckPayload(codec, format, mode, Mutate(random, chunk->payload), parent, size);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(CorruptionTest, EveryTruncationIsRefused) {
  ChunkCodec codec;
  std::mt19937_64 random(6);
  const std::string parent = RandomBytes(random, 3000);
  const std::string target = MakeTarget(Pattern::kNearParent, random, 3001, parent);
  const absl::StatusOr<EncodedChunk> chunk = codec.Encode({2, true}, target, parent);
  ASSERT_TRUE(chunk.ok()) << chunk.status();
  ASSERT_EQ(chunk->mode, ChunkMode::kContextDelta);
  std::string out(target.size(), '\0');
  for (size_t size = 0; size < chunk->payload.size(); ++size) {
    EXPECT_EQ(codec
                  .Decode({2, true}, chunk->mode, chunk->payload.substr(0, size), parent,
                          out.data(), out.size())
                  .code(),
              absl::StatusCode::kDataLoss)
        << size;
  }
}

TEST(CorruptionTest, RandomBytesNeverHarm) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  ChunkCodec codec;
  for (int round = 0; round < 5000; ++round) {
    const LaneFormat format = AllLaneFormats()[random() % AllLaneFormats().size()];
    const size_t size = random() % 100;
    std::string payload = RandomBytes(random, random() % 120);
    if (!payload.empty()) payload[0] = static_cast<char>(random() % 4);
    CheckPayload(codec, format, kModes[random() % std::size(kModes)], payload,
                 RandomBytes(random, random() % (size + 1)), size);
    if (HasFatalFailure()) return;
  }
}

TEST(CorruptionTest, APlaneThatExpandsPastItsSizeIsRefused) {
  constexpr size_t kDeclaredBytes = 512;
  constexpr char kCanary = '\x5a';
  const std::string bomb(1 << 20, 'b');
  std::string frame(ZSTD_compressBound(bomb.size()), '\0');
  frame.resize(ZSTD_compress(frame.data(), frame.size(), bomb.data(), bomb.size(), 1));
  ASSERT_LT(frame.size(), 128u);
  const std::string payload = std::string("\x01", 1) + static_cast<char>(frame.size()) + frame;
  std::string out(bomb.size(), kCanary);
  ChunkCodec codec;
  EXPECT_EQ(
      codec
          .Decode({1, false}, ChunkMode::kPlanes, payload, std::nullopt, out.data(), kDeclaredBytes)
          .code(),
      absl::StatusCode::kDataLoss);
  EXPECT_EQ(out.find_first_not_of(kCanary, kDeclaredBytes), std::string::npos);
}

TEST(CorruptionTest, TwoFramesInOnePlaneAreRefused) {
  ChunkCodec codec;
  const std::string text =
      "abababababababababababababababababababababababababababababababababab"
      "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd";
  const absl::StatusOr<EncodedChunk> chunk = codec.Encode({1, false}, text, std::nullopt);
  ASSERT_TRUE(chunk.ok()) << chunk.status();
  ASSERT_EQ(chunk->mode, ChunkMode::kPlanes);
  ASSERT_EQ(chunk->payload[0], 1);
  const std::string frame = chunk->payload.substr(2);
  ASSERT_LT(2 * frame.size(), 128u);
  const std::string twice =
      std::string("\x01", 1) + static_cast<char>(2 * frame.size()) + frame + frame;
  std::string out(2 * text.size(), '\0');
  EXPECT_EQ(
      codec.Decode({1, false}, ChunkMode::kPlanes, twice, std::nullopt, out.data(), out.size())
          .code(),
      absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace wdelta

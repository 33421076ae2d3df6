// Round trips of the codec, with the reference decoder as the judge.
#include "storage/codec/codec.h"

#include <gtest/gtest.h>

#include <random>

#include "storage/codec/reference/reference_decoder.h"
#include "tests/codec/test_lanes.h"

namespace wdelta {
namespace {

// Encodes, decodes twice and compares; returns what was encoded.
EncodedChunk RoundTrip(ChunkCodec& codec, LaneFormat format, const std::string& target,
                       std::optional<absl::string_view> parent) {
  const absl::StatusOr<EncodedChunk> chunk = codec.Encode(format, target, parent);
  EXPECT_TRUE(chunk.ok()) << chunk.status();
  if (!chunk.ok()) return {};
  EXPECT_LE(chunk->payload.size(), target.size());

  std::string decoded(target.size() + 1, '\x5a');
  const absl::Status status =
      codec.Decode(format, chunk->mode, chunk->payload, parent, decoded.data(), target.size());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(decoded, target + '\x5a') << ChunkModeName(chunk->mode);

  const absl::StatusOr<std::string> reference =
      ReferenceDecode(format, chunk->mode, chunk->payload, parent, target.size());
  EXPECT_TRUE(reference.ok()) << reference.status();
  EXPECT_EQ(reference.value_or("failed"), target) << ChunkModeName(chunk->mode);
  return *chunk;
}

std::string Lanes16(std::initializer_list<uint16_t> lanes, int times) {
  std::string bytes;
  for (int i = 0; i < times; ++i) {
    for (const uint16_t lane : lanes) {
      bytes.push_back(static_cast<char>(lane & 0xff));
      bytes.push_back(static_cast<char>(lane >> 8));
    }
  }
  return bytes;
}

TEST(CodecTest, RandomShapesComeBackExactly) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  ChunkCodec codec;
  for (int round = 0; round < 60; ++round) {
    for (const LaneFormat format : AllLaneFormats()) {
      for (const Pattern pattern : kAllPatterns) {
        const size_t size = random() % (round % 10 == 0 ? 50'000 : 300);
        const size_t parent_size = random() % 3 == 0 ? random() % (size + 1) : size;
        const std::string parent = pattern == Pattern::kEdges ? EdgeBytes(random, parent_size)
                                                              : RandomBytes(random, parent_size);
        const std::string target = MakeTarget(pattern, random, size, parent);
        SCOPED_TRACE(testing::Message() << "lane bytes " << format.lane_bytes << ", size " << size
                                        << ", parent " << parent_size);
        RoundTrip(codec, format, target, parent);
        RoundTrip(codec, format, target, std::nullopt);
        if (HasFailure()) return;
      }
    }
  }
}

struct SpecialValue {
  const char* name;
  uint16_t bf16;
};

class SpecialValueTest : public testing::TestWithParam<SpecialValue> {};

// Each special value both as target and as parent of every other.
TEST_P(SpecialValueTest, KeepsItsBits) {
  ChunkCodec codec;
  const std::string mixed = Lanes16({GetParam().bf16, 0x3f80, GetParam().bf16, 0xbdcd}, 200);
  const std::string others =
      Lanes16({0x0000, 0x8000, 0x7f80, 0xff80, 0x7fc0, 0xffff, 0x0001, 0x807f}, 100);
  RoundTrip(codec, {2, true}, mixed, std::nullopt);
  RoundTrip(codec, {2, true}, mixed, others);
  RoundTrip(codec, {2, true}, others, mixed);
}

INSTANTIATE_TEST_SUITE_P(Bf16, SpecialValueTest,
                         testing::Values(SpecialValue{"PositiveZero", 0x0000},
                                         SpecialValue{"NegativeZero", 0x8000},
                                         SpecialValue{"PositiveInfinity", 0x7f80},
                                         SpecialValue{"NegativeInfinity", 0xff80},
                                         SpecialValue{"QuietNaN", 0x7fc0},
                                         SpecialValue{"SignallingNaN", 0x7f81},
                                         SpecialValue{"NegativeNaNWithPayload", 0xffd5},
                                         SpecialValue{"SmallestDenormal", 0x0001},
                                         SpecialValue{"LargestNegativeDenormal", 0x807f},
                                         SpecialValue{"LargestFinite", 0x7f7f}),
                         [](const auto& test) -> std::string { return test.param.name; });

TEST(CodecTest, NegativeZeroIsNotThePositiveOne) {
  ChunkCodec codec;
  const std::string negative = Lanes16({0x8000, 0x3f80}, 100);
  const std::string positive = Lanes16({0x0000, 0x3f80}, 100);
  EXPECT_NE(RoundTrip(codec, {2, true}, negative, positive).mode, ChunkMode::kSame);
}

TEST(CodecTest, EqualToParentIsSame) {
  ChunkCodec codec;
  std::mt19937_64 random(1);
  const std::string bytes = RandomBytes(random, 1001);
  const EncodedChunk chunk = RoundTrip(codec, {4, true}, bytes, bytes);
  EXPECT_EQ(chunk.mode, ChunkMode::kSame);
  EXPECT_TRUE(chunk.payload.empty());
}

TEST(CodecTest, ShortParentIsFollowedByZeros) {
  ChunkCodec codec;
  std::mt19937_64 random(2);
  const std::string parent = RandomBytes(random, 501);
  const std::string target = parent + std::string(500, '\0');
  EXPECT_EQ(RoundTrip(codec, {2, true}, target, parent).mode, ChunkMode::kSame);
}

TEST(CodecTest, OneLaneRepeatedIsConst) {
  ChunkCodec codec;
  const std::string bytes = Lanes16({0x3f80}, 1000) + '\x80';
  const EncodedChunk chunk = RoundTrip(codec, {2, true}, bytes, std::nullopt);
  EXPECT_EQ(chunk.mode, ChunkMode::kConst);
  EXPECT_EQ(chunk.payload, std::string("\x80\x3f"));
}

TEST(CodecTest, NoiseIsRaw) {
  ChunkCodec codec;
  std::mt19937_64 random(3);
  const std::string noise = RandomBytes(random, 10'000);
  const std::string parent = RandomBytes(random, 10'000);
  EXPECT_EQ(RoundTrip(codec, {2, true}, noise, parent).mode, ChunkMode::kRaw);
  EXPECT_EQ(RoundTrip(codec, {4, false}, noise, std::nullopt).mode, ChunkMode::kRaw);
}

TEST(CodecTest, SmallDifferencesAreCodedByContext) {
  ChunkCodec codec;
  std::mt19937_64 random(4);
  const std::string parent = RandomBytes(random, 10'000);
  std::string target = parent;
  for (size_t i = 0; i < target.size(); i += 2) target[i] ^= static_cast<char>(random() % 8);
  const EncodedChunk chunk = RoundTrip(codec, {2, true}, target, parent);
  EXPECT_EQ(chunk.mode, ChunkMode::kContextDelta);
  EXPECT_LT(chunk.payload.size(), target.size() * 27 / 100);
}

TEST(CodecTest, UnrelatedParentIsLeftAside) {
  ChunkCodec codec;
  std::mt19937_64 random(5);
  std::normal_distribution<float> weights(0, 0.02f);
  std::string target;
  for (int i = 0; i < 20'000; ++i) {
    const float value = weights(random);
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    target.append(reinterpret_cast<const char*>(&bits) + 2, 2);
  }
  const EncodedChunk chunk =
      RoundTrip(codec, {2, true}, target, RandomBytes(random, target.size()));
  EXPECT_EQ(chunk.mode, ChunkMode::kDirect);
  EXPECT_LT(chunk.payload.size(), target.size() * 70 / 100);
}

TEST(CodecTest, AFewChangesAreSparse) {
  ChunkCodec codec;
  std::mt19937_64 random(6);
  const std::string parent = RandomBytes(random, 100'001);
  std::string target = parent;
  for (const size_t i : {0, 31'000, 99'998, 100'000}) target[i] = static_cast<char>(target[i] + 1);
  const EncodedChunk chunk = RoundTrip(codec, {2, true, 7}, target, parent);
  EXPECT_EQ(chunk.mode, ChunkMode::kSparse);
  EXPECT_LT(chunk.payload.size(), 30u);
}

// Checkpoints saved as F32 that were BF16 once cost what BF16 costs.
TEST(CodecTest, ZeroLowBitsCostNothing) {
  ChunkCodec codec;
  std::mt19937_64 random(7);
  std::normal_distribution<float> weights(0, 0.02f);
  std::string wide_target, wide_parent, target, parent;
  for (int i = 0; i < 50'000; ++i) {
    const float base = weights(random);
    for (const bool is_target : {false, true}) {
      const float value = is_target ? base + 0.01f * weights(random) : base;
      uint32_t bits;
      std::memcpy(&bits, &value, 4);
      bits &= 0xffff0000;
      const char* bytes = reinterpret_cast<const char*>(&bits);
      (is_target ? wide_target : wide_parent).append(bytes, 4);
      (is_target ? target : parent).append(bytes + 2, 2);
    }
  }
  const LaneFormat f32 = LaneFormatOf(DType::kF32);
  const LaneFormat bf16 = LaneFormatOf(DType::kBF16);
  const size_t narrow = RoundTrip(codec, bf16, target, parent).payload.size();
  EXPECT_LT(RoundTrip(codec, f32, wide_target, wide_parent).payload.size(), narrow * 102 / 100);
  const size_t narrow_alone = RoundTrip(codec, bf16, target, std::nullopt).payload.size();
  EXPECT_LT(RoundTrip(codec, f32, wide_target, std::nullopt).payload.size(),
            narrow_alone * 102 / 100);
}

TEST(CodecTest, NothingIsRaw) {
  ChunkCodec codec;
  for (const LaneFormat format : AllLaneFormats()) {
    const EncodedChunk chunk = RoundTrip(codec, format, "", "");
    EXPECT_EQ(chunk.mode, ChunkMode::kRaw);
    EXPECT_TRUE(codec.Decode(format, ChunkMode::kRaw, "", std::nullopt, nullptr, 0).ok());
  }
}

TEST(CodecTest, LongerParentIsRefused) {
  ChunkCodec codec;
  EXPECT_EQ(codec.Encode({1, false}, "ab", "abc").status().code(),
            absl::StatusCode::kInvalidArgument);
  char out[2];
  EXPECT_EQ(codec.Decode({1, false}, ChunkMode::kSame, "", "abc", out, 2).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CodecTest, MissingParentIsRefused) {
  ChunkCodec codec;
  char out[2];
  EXPECT_EQ(codec.Decode({1, false}, ChunkMode::kSame, "", std::nullopt, out, 2).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CodecTest, ModesAreKnownByByteAndName) {
  for (uint8_t byte = 1; byte <= 9; ++byte) {
    ASSERT_TRUE(ChunkModeFromByte(byte).ok());
    EXPECT_NE(ChunkModeName(*ChunkModeFromByte(byte)), "unknown");
  }
  EXPECT_EQ(ChunkModeFromByte(0).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ChunkModeFromByte(255).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace wdelta

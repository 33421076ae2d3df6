// Scaled-delta: classes by row and column. Round trips of any shape with the reference decoder
// as the judge, what it saves, and payloads that no encoder made.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "hwy/highway.h"
#include "storage/codec/class_coder.h"
#include "storage/codec/codec.h"
#include "storage/codec/reference/reference_decoder.h"
#include "storage/codec/scale_plan.h"
#include "tests/codec/test_lanes.h"

namespace wdelta {
namespace {

const uint8_t* Bytes(const std::string& bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

const std::vector<LaneFormat>& FloatFormats() {
  static const auto& formats = *new std::vector<LaneFormat>{
      LaneFormatOf(DType::kBF16), LaneFormatOf(DType::kF16),    LaneFormatOf(DType::kF32),
      LaneFormatOf(DType::kF64),  LaneFormatOf(DType::kF8E4M3), LaneFormatOf(DType::kF8E5M2)};
  return formats;
}

struct Pair {
  std::string parent;
  std::string target;
};

// The bits of `value` as a lane of the format, cut off; beyond its range the largest or zero.
uint64_t LaneOf(LaneFormat format, double value) {
  const int exponent_bits = 8 * format.lane_bytes - 1 - format.mantissa_bits;
  const int64_t bias = (int64_t{1} << (exponent_bits - 1)) - 1;
  int exponent;
  const double fraction = std::frexp(std::fabs(value), &exponent);  // in [0.5, 1)
  const int64_t field = exponent - 1 + bias;
  const uint64_t sign = (value < 0 ? uint64_t{1} : 0) << (8 * format.lane_bytes - 1);
  if (fraction == 0 || field < 1) return sign;
  const auto mantissa = static_cast<uint64_t>(std::ldexp(2 * fraction - 1, format.mantissa_bits));
  const auto most = (int64_t{1} << exponent_bits) - 1;
  return sign | static_cast<uint64_t>(std::min(field, most)) << format.mantissa_bits | mantissa;
}

// Normal weights; changes whose scale differs by row and column, by `spread` octaves.
Pair MakePair(LaneFormat format, size_t lanes, size_t row_lanes, double spread, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> columns(row_lanes);
  for (double& column : columns) column = std::exp2(spread * normal(random));
  Pair pair;
  double row = 1;
  for (size_t i = 0; i < lanes; ++i) {
    if (i % row_lanes == 0) row = std::exp2(spread * normal(random));
    const double weight = 0.5 * normal(random);
    const double change = 0.01 * row * columns[i % row_lanes] * normal(random);
    const uint64_t before = LaneOf(format, weight);
    const uint64_t after = LaneOf(format, weight + change);
    pair.parent.append(reinterpret_cast<const char*>(&before), format.lane_bytes);
    pair.target.append(reinterpret_cast<const char*>(&after), format.lane_bytes);
  }
  return pair;
}

// Encodes as scaled-delta, whether that pays or not, decodes twice and compares; returns the
// payload.
std::string RoundTripPlan(LaneFormat format, const ClassPlan& plan, const Pair& pair) {
  const size_t lanes = pair.target.size() / format.lane_bytes;
  EXPECT_EQ(plan.scales->rows.size(), plan.scales->geometry.Rows(lanes));
  EXPECT_EQ(plan.scales->columns.size(), plan.scales->geometry.row_lanes);
  ClassCoder coder;
  const std::string payload =
      coder.Encode(format, plan, Bytes(pair.target), Bytes(pair.parent), lanes);
  std::string decoded(pair.target.size() + 1, '\x5a');
  ChunkCodec codec;
  const absl::Status status = codec.Decode(format, ChunkMode::kScaledDelta, payload, pair.parent,
                                           decoded.data(), pair.target.size());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(decoded, pair.target + '\x5a');
  const auto reference =
      ReferenceDecode(format, ChunkMode::kScaledDelta, payload, pair.parent, pair.target.size());
  EXPECT_TRUE(reference.ok()) << reference.status();
  EXPECT_EQ(reference.value_or("failed"), pair.target);
  return payload;
}

// Nothing where there is no plan.
std::string RoundTrip(LaneFormat format, const ChunkGeometry& geometry, const Pair& pair) {
  const size_t lanes = pair.target.size() / format.lane_bytes;
  const ClassPlan delta = PlanDelta(format, Bytes(pair.target), Bytes(pair.parent), lanes);
  const std::optional<ClassPlan> plan =
      PlanScaledDelta(format, geometry, delta, Bytes(pair.target), Bytes(pair.parent), lanes);
  return plan.has_value() ? RoundTripPlan(format, *plan, pair) : "";
}

// A plan that no planner would make: any classes of rows, columns and levels.
ClassPlan RandomPlan(LaneFormat format, size_t lanes, std::mt19937_64& random) {
  ClassPlan plan;
  plan.map.shift = static_cast<int>(random() % (8 * format.lane_bytes));
  plan.map.first = random() % 300 & (~uint64_t{0} >> (64 - 8 * format.lane_bytes));
  for (size_t level = 1; level < kernels::kLevels; ++level) {
    const uint64_t step = random() % 3 == 0 ? 1 : 0;
    plan.map.class_of_level[level] =
        static_cast<uint8_t>(plan.map.class_of_level[level - 1] + step);
  }
  plan.map.count = plan.map.class_of_level[kernels::kLevels - 1] + 1;
  plan.map.direct_count = static_cast<int>(random() % (plan.map.count + 1));
  ScaleClasses& scales = plan.scales.emplace();
  scales.geometry.row_lanes = random() % 4 == 0 ? lanes : 1 + random() % lanes;
  scales.geometry.first_row_lanes = 1 + random() % scales.geometry.row_lanes;
  for (size_t row = scales.geometry.Rows(lanes); row > 0; --row) {
    scales.rows.push_back(static_cast<uint8_t>(random() % 256));
  }
  for (size_t column = scales.geometry.row_lanes; column > 0; --column) {
    scales.columns.push_back(static_cast<uint8_t>(random() % 256));
  }
  return plan;
}

TEST(ScaledDeltaTest, AnyPlanComesBackExactly) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 60; ++round) {
    for (LaneFormat format : AllLaneFormats()) {
      const size_t lanes = 1 + random() % (round % 10 == 0 ? 5 : 700);
      SCOPED_TRACE(testing::Message() << "lane bytes " << format.lane_bytes << ", lanes " << lanes);
      Pair pair;
      pair.parent = RandomBytes(random, lanes * format.lane_bytes);
      const Pattern pattern = kAllPatterns[random() % std::size(kAllPatterns)];
      pair.target = MakeTarget(pattern, random, pair.parent.size(), pair.parent);
      RoundTripPlan(format, RandomPlan(format, lanes, random), pair);
      if (HasFailure()) return;
    }
  }
}

TEST(ScaledDeltaTest, RandomShapesComeBackExactly) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 40; ++round) {
    for (const LaneFormat format : FloatFormats()) {
      const size_t row_lanes = 1 + random() % 300;
      const size_t lanes = 600 + row_lanes * (4 + random() % 16) - random() % row_lanes;
      const ChunkGeometry geometry{row_lanes, random() % (3 * row_lanes)};
      SCOPED_TRACE(testing::Message()
                   << "lane bytes " << format.lane_bytes << ", rows of " << row_lanes << ", lanes "
                   << lanes << ", first " << geometry.first_weight);
      Pair pair = MakePair(format, lanes, row_lanes, 1.5, random());
      if (round % 4 == 1) pair.target = RandomBytes(random, pair.target.size());
      if (round % 4 == 2) pair.parent = EdgeBytes(random, pair.parent.size());
      EXPECT_NE(RoundTrip(format, geometry, pair), "");
      if (HasFailure()) return;
    }
  }
}

TEST(ScaledDeltaTest, HugeValuesAndUnchangedRowsComeBackExactly) {
  for (const LaneFormat format : FloatFormats()) {
    Pair pair = MakePair(format, 8000, 100, 1, 1);
    const size_t row_bytes = 100 * format.lane_bytes;
    pair.target.replace(0, row_bytes, pair.parent, 0, row_bytes);
    // NaN payloads, infinities, zeros of both signs.
    for (size_t i = 0; i < 50; ++i) pair.target[row_bytes + i] = '\xff';
    for (size_t i = 0; i < 50; ++i) pair.parent[2 * row_bytes + i] = '\x7f';
    for (size_t i = 0; i < 50; ++i) pair.target[3 * row_bytes + i] = '\0';
    EXPECT_NE(RoundTrip(format, {100, 30}, pair), "");
  }
}

TEST(ScaledDeltaTest, AFewRowsAreNoPlan) {
  const LaneFormat format = LaneFormatOf(DType::kBF16);
  const Pair pair = MakePair(format, 1000, 1000, 1, 1);
  for (const uint64_t row : {0, 334, 1000, 100'000}) {
    EXPECT_EQ(RoundTrip(format, {row, 0}, pair), "") << row;
  }
  EXPECT_NE(RoundTrip(format, {1, 0}, pair), "");
  // Lanes whose exponent would have too many values, if it were one.
  EXPECT_EQ(RoundTrip(LaneFormat{8, true, 7}, {10, 0},
                      MakePair(LaneFormatOf(DType::kF64), 1000, 10, 1, 1)),
            "");
}

TEST(ScaledDeltaTest, MaxEffortTakesItWhereRowsDiffer) {
  ChunkCodec codec;
  for (const LaneFormat format :
       {LaneFormatOf(DType::kBF16), LaneFormatOf(DType::kF16), LaneFormatOf(DType::kF32)}) {
    const Pair pair = MakePair(format, 70'000, 300, 1.5, 2);
    const auto plain = codec.Encode(format, pair.target, pair.parent, Effort::kMax);
    const auto scaled =
        codec.Encode(format, pair.target, pair.parent, Effort::kMax, ChunkGeometry{300, 0});
    ASSERT_TRUE(plain.ok() && scaled.ok());
    EXPECT_EQ(plain->mode, ChunkMode::kContextDelta);
    ASSERT_EQ(scaled->mode, ChunkMode::kScaledDelta);
    EXPECT_LT(scaled->payload.size(), plain->payload.size() * 97 / 100) << format.lane_bytes;
    std::string decoded(pair.target.size(), '\0');
    ASSERT_TRUE(codec
                    .Decode(format, scaled->mode, scaled->payload, pair.parent, decoded.data(),
                            decoded.size())
                    .ok());
    EXPECT_EQ(decoded, pair.target);
  }
}

TEST(ScaledDeltaTest, ClassesThatTellNothingAreLeftOut) {
  ChunkCodec codec;
  const LaneFormat format = LaneFormatOf(DType::kBF16);
  const Pair pair = MakePair(format, 60'000, 300, 0, 3);
  const auto chunk =
      codec.Encode(format, pair.target, pair.parent, Effort::kMax, ChunkGeometry{300, 0});
  ASSERT_TRUE(chunk.ok());
  EXPECT_EQ(chunk->mode, ChunkMode::kContextDelta);
}

TEST(ScaledDeltaTest, OtherInstructionSetsGiveTheSameBytes) {
  for (const LaneFormat format : FloatFormats()) {
    const Pair pair = MakePair(format, 5003, 77, 1.5, 4);
    const ChunkGeometry geometry{77, 13};
    const std::string payload = RoundTrip(format, geometry, pair);
    for (const int64_t targets : {HWY_BASELINE_SCALAR, HWY_AVX2 | HWY_BASELINE_SCALAR}) {
      hwy::SetSupportedTargetsForTest(targets);
      const std::string other = RoundTrip(format, geometry, pair);
      hwy::SetSupportedTargetsForTest(0);
      EXPECT_EQ(payload, other) << format.lane_bytes;
    }
  }
}

// The verdict of both decoders on payloads near a good one.
TEST(ScaledDeltaTest, MutatedPayloadsNeverHarm) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  ChunkCodec codec;
  for (const LaneFormat format : FloatFormats()) {
    const Pair pair = MakePair(format, 700, 70, 1.5, random());
    const std::string good = RoundTrip(format, {70, 5}, pair);
    for (int round = 0; round < 600; ++round) {
      std::string payload = good;
      if (round % 3 == 0) payload.resize(random() % payload.size());
      // The header is what there is most to break in.
      const size_t reach = round % 2 == 0 ? std::min<size_t>(24, payload.size()) : payload.size();
      for (uint64_t flips = random() % 4; flips > 0 && reach > 0; --flips) {
        payload[random() % reach] ^= static_cast<char>(1 << (random() % 8));
      }
      std::string decoded(pair.target.size() + 16, '\x5a');
      const absl::Status status = codec.Decode(format, ChunkMode::kScaledDelta, payload,
                                               pair.parent, decoded.data(), pair.target.size());
      ASSERT_EQ(decoded.substr(pair.target.size()), std::string(16, '\x5a'));
      const auto reference = ReferenceDecode(format, ChunkMode::kScaledDelta, payload, pair.parent,
                                             pair.target.size());
      ASSERT_EQ(status.ok(), reference.ok()) << status << " / " << reference.status();
      if (status.ok()) {
        ASSERT_EQ(decoded.substr(0, pair.target.size()), *reference);
      } else {
        ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
      }
    }
  }
}

TEST(ScaledDeltaTest, HeadersOutOfRangeAreRefusedByName) {
  ChunkCodec codec;
  const LaneFormat format = LaneFormatOf(DType::kBF16);
  const std::string parent(20, '\x3f');
  const auto verdict = [&](const std::string& payload) {
    std::string out(parent.size(), '\0');
    const absl::Status status =
        codec.Decode(format, ChunkMode::kScaledDelta, payload, parent, out.data(), out.size());
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_FALSE(ReferenceDecode(format, ChunkMode::kScaledDelta, payload, parent, 20).ok());
    return std::string(status.message());
  };
  // zero bits 0, shift 7, first 0, then: lanes of a row, of the first row, bounds of classes.
  const std::string start("\x00\x07\x00", 3);
  EXPECT_THAT(verdict(start + '\x00'), testing::StartsWith("row:"));
  EXPECT_THAT(verdict(start + '\x0b'), testing::StartsWith("row:"));
  EXPECT_THAT(verdict(start + std::string("\x05\x00", 2)), testing::StartsWith("first row:"));
  EXPECT_THAT(verdict(start + std::string("\x05\x06", 2)), testing::StartsWith("first row:"));
  EXPECT_THAT(verdict(start + std::string("\x05\x05\x80\x80\x80\x80\x08", 7)),
              testing::StartsWith("bounds of classes:"));
}

}  // namespace
}  // namespace wdelta

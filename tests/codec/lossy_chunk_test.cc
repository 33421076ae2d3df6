// Lossy chunks, encoded and decoded: what was recorded is what comes out.
#include <gtest/gtest.h>

#include "storage/codec/codec.h"
#include "storage/codec/reference/reference_decoder.h"
#include "tests/codec/lossy_deltas.h"

namespace wdelta {
namespace {

LossyParams Quantise(double step) {
  return LossyParams{.strategy = Strategy::kNearLossless, .step = step};
}

// Encodes, decodes, and recomputes what the outcome says.
LossyChunk RoundTrip(ChunkCodec& codec, DType dtype, const ChunkGeometry& geometry,
                     const std::string& target, const std::string& parent,
                     const LossyParams& params) {
  const absl::StatusOr<LossyChunk> encoded =
      codec.EncodeLossy(dtype, geometry, target, parent, params);
  EXPECT_TRUE(encoded.ok()) << encoded.status();
  if (!encoded.ok()) return {};
  EXPECT_LE(encoded->chunk.payload.size(), target.size());
  EXPECT_EQ(encoded->outcome.bits, 8.0 * static_cast<double>(encoded->chunk.payload.size()));

  std::string decoded(target.size() + 1, '\x5a');
  const absl::Status status =
      codec.Decode(LaneFormatOf(dtype), encoded->chunk.mode, encoded->chunk.payload, parent,
                   decoded.data(), target.size());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(decoded.back(), '\x5a');
  decoded.pop_back();
  EXPECT_EQ(decoded, encoded->reconstructed) << ChunkModeName(encoded->chunk.mode);
  const absl::StatusOr<std::string> reference = ReferenceDecode(
      LaneFormatOf(dtype), encoded->chunk.mode, encoded->chunk.payload, parent, target.size());
  EXPECT_TRUE(reference.ok()) << reference.status();
  EXPECT_EQ(reference.value_or("failed"), decoded) << ChunkModeName(encoded->chunk.mode);

  const std::vector<double> t = ValuesOf(dtype, target);
  const std::vector<double> p = ValuesOf(dtype, parent);
  const std::vector<double> o = ValuesOf(dtype, decoded);
  double squared_error = 0, squared_delta = 0, largest = 0;
  for (size_t i = 0; i < t.size(); ++i) {
    squared_error += (o[i] - t[i]) * (o[i] - t[i]);
    squared_delta += (t[i] - p[i]) * (t[i] - p[i]);
    largest = std::max(largest, std::abs(o[i] - t[i]));
  }
  if (std::isfinite(squared_delta)) {
    EXPECT_NEAR(encoded->outcome.squared_error, squared_error, 1e-9 * squared_error);
    EXPECT_NEAR(encoded->outcome.squared_delta, squared_delta, 1e-9 * squared_delta);
    EXPECT_EQ(encoded->outcome.max_absolute_error, largest);
  }
  return *encoded;
}

TEST(LossyChunkTest, RandomShapesDecodeToWhatWasRecorded) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  ChunkCodec codec;
  for (int round = 0; round < 40; ++round) {
    for (const DType dtype : kLossyDTypes) {
      const size_t count = 1 + random() % (round % 10 == 0 ? 20'000 : 1000);
      const double relative = std::exp2(-static_cast<double>(random() % 10));
      const Pair pair = MakePair(random, dtype, count, relative, random() % 3 == 0 ? 0.9 : 0);
      const ChunkGeometry geometry{.row_weights = random() % 700, .first_weight = random() % 5000};
      LossyParams params =
          Quantise(0.02 * relative * std::exp2(2 - static_cast<int>(random() % 9)));
      params.effort = random() % 2 == 0 ? Effort::kFast : Effort::kMax;
      SCOPED_TRACE(testing::Message() << DTypeName(dtype) << ", " << count << " weights");
      RoundTrip(codec, dtype, geometry, pair.target, pair.parent, params);
      params.strategy = Strategy::kOneBit;
      RoundTrip(codec, dtype, geometry, pair.target, pair.parent, params);
      params.strategy = Strategy::kSparse;
      params.threshold = 0.02 * relative;
      RoundTrip(codec, dtype, geometry, pair.target, pair.parent, params);
      if (HasFailure()) return;
    }
  }
}

TEST(LossyChunkTest, UnchangedWeightsStayUnchanged) {
  std::mt19937_64 random(1);
  ChunkCodec codec;
  for (const DType dtype : kLossyDTypes) {
    const Pair pair = MakePair(random, dtype, 20'000, 0.05, 0.8);
    const LossyChunk chunk =
        RoundTrip(codec, dtype, {}, pair.target, pair.parent, Quantise(0.0005));
    EXPECT_EQ(chunk.chunk.mode, ChunkMode::kQuantised);
    const size_t lane = LaneBytes(dtype);
    for (size_t at = 0; at < pair.target.size(); at += lane) {
      if (pair.target.compare(at, lane, pair.parent, at, lane) != 0) continue;
      ASSERT_EQ(chunk.reconstructed.compare(at, lane, pair.parent, at, lane), 0);
    }
  }
}

TEST(LossyChunkTest, ErrorIsNearWhatTheStepSays) {
  std::mt19937_64 random(2);
  ChunkCodec codec;
  const Pair pair = MakePair(random, DType::kF32, 100'000, 0.05);
  const LossyChunk chunk =
      RoundTrip(codec, DType::kF32, {}, pair.target, pair.parent, Quantise(0.0002));
  // About 0.25 squares of the step are what the trellis leaves.
  EXPECT_NEAR(std::sqrt(chunk.outcome.squared_error / 100'000), std::sqrt(0.25) * 0.0002, 1e-5);
  // log2(sigma / error) is the least that any code takes for it.
  const double least = std::log2(1 / chunk.outcome.RelativeError());
  EXPECT_LT(chunk.outcome.bits / 100'000, least + 0.15);
}

// Otherwise every step of training would be taken a little too short.
TEST(LossyChunkTest, ErrorIsOrthogonalToTheDeltas) {
  std::mt19937_64 random(7);
  ChunkCodec codec;
  for (const double step : {0.0002, 0.0005, 0.001}) {
    const Pair pair = MakePair(random, DType::kF32, 30'000, 0.05);
    const LossyChunk chunk =
        RoundTrip(codec, DType::kF32, {}, pair.target, pair.parent, Quantise(step));
    EXPECT_NEAR(chunk.outcome.delta_dot_output / chunk.outcome.squared_delta, 1, 1e-3) << step;
  }
}

TEST(LossyChunkTest, ErrorsDoNotAddUpAlongAChain) {
  std::mt19937_64 random(3);
  ChunkCodec codec;
  constexpr size_t kCount = 30'000;
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    std::vector<double> weights = ValuesOf(dtype, LanesOf(dtype, Gaussian(random, kCount, 0.02)));
    std::string served = LanesOf(dtype, weights);
    double first_error = 0;
    for (int model = 0; model < 10; ++model) {
      const std::vector<double> deltas = Gaussian(random, kCount, 0.001);
      for (size_t i = 0; i < kCount; ++i) weights[i] += deltas[i];
      const std::string target = LanesOf(dtype, weights);
      weights = ValuesOf(dtype, target);
      const LossyChunk chunk = RoundTrip(codec, dtype, {}, target, served, Quantise(0.0002));
      const double error = std::sqrt(chunk.outcome.squared_error);
      if (model == 0) first_error = error;
      EXPECT_LE(error, 1.02 * first_error) << DTypeName(dtype) << ", model " << model;
      served = chunk.reconstructed;
    }
  }
}

TEST(LossyChunkTest, EdgesOfTheDTypesComeBackWithinTheStep) {
  ChunkCodec codec;
  for (const DType dtype : kLossyDTypes) {
    const bool is_half = dtype == DType::kF16;
    const double tiny = dtype == DType::kF16   ? 0x1p-24
                        : dtype == DType::kF64 ? 0x1p-1074
                                               : 0x1p-133;
    const double huge = is_half ? 65504 : 1e30;
    std::vector<double> parent, target;
    const double values[] = {0.0, -0.0, tiny, -tiny, 0.01, -0.01, 1, huge, -huge};
    for (int repeat = 0; repeat < 40; ++repeat) {
      for (const double p : values) {
        for (const double t : values) {
          parent.push_back(p);
          target.push_back(t);
        }
      }
    }
    const std::string t = LanesOf(dtype, target);
    const std::string p = LanesOf(dtype, parent);
    const LossyChunk chunk = RoundTrip(codec, dtype, {}, t, p, Quantise(0.001));
    EXPECT_EQ(chunk.chunk.mode, ChunkMode::kQuantised) << DTypeName(dtype);
    // Huge deltas are stored whole; others are off by less than the search allows.
    EXPECT_LT(chunk.outcome.max_absolute_error, 0.01) << DTypeName(dtype);
  }
}

TEST(LossyChunkTest, ChunksThatAreNotFiniteStayLossless) {
  std::mt19937_64 random(4);
  ChunkCodec codec;
  const double specials[] = {std::numeric_limits<double>::infinity(),
                             -std::numeric_limits<double>::infinity()};
  for (const DType dtype : kLossyDTypes) {
    for (const double special : specials) {
      Pair pair = MakePair(random, dtype, 1000, 0.05);
      const std::string lane = LanesOf(dtype, {special});
      for (std::string* bytes : {&pair.target, &pair.parent}) {
        const std::string kept = *bytes;
        bytes->replace(7 * lane.size(), lane.size(), lane);
        for (const Strategy strategy :
             {Strategy::kNearLossless, Strategy::kOneBit, Strategy::kSparse}) {
          LossyParams params = Quantise(0.001);
          params.strategy = strategy;
          const LossyChunk chunk = RoundTrip(codec, dtype, {}, pair.target, pair.parent, params);
          EXPECT_EQ(chunk.reconstructed, pair.target);
        }
        *bytes = kept;
      }
    }
  }
}

TEST(LossyChunkTest, SparseKeepsTheLargestDeltasExactly) {
  std::mt19937_64 random(5);
  ChunkCodec codec;
  const Pair pair = MakePair(random, DType::kBF16, 20'000, 0.5);
  const LossyParams params{.strategy = Strategy::kSparse, .threshold = 0.02};
  const LossyChunk chunk = RoundTrip(codec, DType::kBF16, {}, pair.target, pair.parent, params);
  const std::vector<double> t = ValuesOf(DType::kBF16, pair.target);
  const std::vector<double> p = ValuesOf(DType::kBF16, pair.parent);
  const std::vector<double> o = ValuesOf(DType::kBF16, chunk.reconstructed);
  uint64_t kept = 0;
  for (size_t i = 0; i < t.size(); ++i) {
    const bool keeps = std::abs(t[i] - p[i]) >= 0.02;
    kept += keeps ? 1 : 0;
    ASSERT_EQ(o[i], keeps ? t[i] : p[i]);
  }
  EXPECT_EQ(chunk.outcome.altered, kept);
  EXPECT_GT(kept, 100u);
}

TEST(LossyChunkTest, OneBitIsAboutABit) {
  std::mt19937_64 random(6);
  ChunkCodec codec;
  const Pair pair = MakePair(random, DType::kBF16, 100'000, 0.5);
  const LossyParams params{.strategy = Strategy::kOneBit};
  const LossyChunk chunk =
      RoundTrip(codec, DType::kBF16, {.row_weights = 500}, pair.target, pair.parent, params);
  EXPECT_EQ(chunk.chunk.mode, ChunkMode::kOneBit);
  EXPECT_LT(chunk.outcome.bits / 100'000, 1.05);
  // 1 - 2 / pi of the energy of a Gaussian remains.
  EXPECT_NEAR(chunk.outcome.RelativeError(), std::sqrt(1 - 2 / M_PI), 0.02);
}

TEST(LossyChunkTest, WrongInputIsRefused) {
  ChunkCodec codec;
  const std::string lanes(64, '\x3c');
  const std::string other(64, '\x3d');
  const auto code = [&](DType dtype, absl::string_view parent, const LossyParams& params) {
    return codec.EncodeLossy(dtype, {}, lanes, parent, params).status().code();
  };
  EXPECT_EQ(code(DType::kI16, other, Quantise(1)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(DType::kBF16, "", Quantise(1)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(DType::kBF16, other, Quantise(0)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(DType::kBF16, other, Quantise(NAN)), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(DType::kBF16, other, {.strategy = Strategy::kAuto}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(DType::kBF16, other, Quantise(1)), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace wdelta

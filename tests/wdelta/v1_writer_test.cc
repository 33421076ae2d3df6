// What the writer writes, the reader gives back, as close as the strategy allows.
#include "storage/wdelta/v1/v1_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "storage/base/error.h"
#include "storage/wdelta/v1/float_values.h"
#include "tests/support/temp_folder.h"
#include "tests/wdelta/v1_bytes.h"

namespace wdelta {
namespace {

class V1WriterTest : public testing::Test {
 protected:
  struct Written {
    std::string bytes;
    V1WriterResult result;
  };

  absl::StatusOr<Written> Write(const V1WriterOptions& options, const std::vector<uint64_t>& shape,
                                const std::vector<float>& delta) {
    auto writer = V1Writer::Create(options, files_.get(), folder_ / "arrays");
    if (!writer.ok()) return writer.status();
    const absl::Status added = writer->AddTensor("w", shape, V1VectorDelta(delta));
    if (!added.ok()) return added;
    Written written;
    const auto result = writer->Finish(Digest::Of("parent"), [&](absl::string_view bytes) {
      written.bytes.append(bytes.data(), bytes.size());
      return absl::OkStatus();
    });
    if (!result.ok()) return result.status();
    written.result = *result;
    return written;
  }

  // Deltas as the reader gives them.
  static std::vector<float> ReadBack(const Written& written, size_t count) {
    const auto reader = OpenV1Bytes(written.bytes);
    EXPECT_TRUE(reader.ok()) << reader.status();
    EXPECT_EQ((*reader)->file().parent_hash, Digest::Of("parent"));
    std::vector<float> values(count, 0.0f);
    const absl::Status status = (*reader)->AddDelta(0, 0, absl::MakeSpan(values));
    EXPECT_TRUE(status.ok()) << status;
    return values;
  }

  static double RelativeError(const std::vector<float>& delta, const std::vector<float>& found) {
    double error = 0;
    double norm = 0;
    for (size_t i = 0; i < delta.size(); ++i) {
      error += std::pow(static_cast<double>(delta[i]) - found[i], 2);
      norm += std::pow(static_cast<double>(delta[i]), 2);
    }
    return std::sqrt(error / norm);
  }

  // Gaussian, more than one window of the reader and of the writer.
  static std::vector<float> RandomDelta(size_t count) {
    std::mt19937 random(7);
    std::normal_distribution<float> deltas(0.0f, 1e-3f);
    std::vector<float> values(count);
    for (float& value : values) value = deltas(random);
    return values;
  }

  const std::unique_ptr<FileSystem> files_ = NewPosixFileSystem();
  const TempFolder folder_;
};

TEST_F(V1WriterTest, Int4KeepsTheLargestAndIsNearElsewhere) {
  const std::vector<float> delta = RandomDelta(301 * 333);
  const auto written = Write({V1Strategy::kInt4}, {301, 333}, delta);
  ASSERT_TRUE(written.ok()) << written.status();
  const std::vector<float> found = ReadBack(*written, delta.size());
  const double error = RelativeError(delta, found);
  EXPECT_NEAR(written->result.relative_error, error, 1e-6);
  EXPECT_LT(error, 0.12);
  EXPECT_GT(error, 0.01);
  EXPECT_EQ(written->result.file_bytes, written->bytes.size());
  EXPECT_EQ(written->result.element_count, delta.size());
  const auto largest = std::max_element(delta.begin(), delta.end()) - delta.begin();
  EXPECT_EQ(found[largest], Float16ToFloat32(Float32ToFloat16(delta[largest])));
}

TEST_F(V1WriterTest, SparseKeepsExactlyTheLargest) {
  const std::vector<float> delta = RandomDelta(70000);
  const auto written = Write({V1Strategy::kSparse, 0.75}, {70000}, delta);
  ASSERT_TRUE(written.ok()) << written.status();
  const std::vector<float> found = ReadBack(*written, delta.size());
  std::vector<float> magnitudes;
  for (const float value : delta) magnitudes.push_back(std::fabs(value));
  std::sort(magnitudes.rbegin(), magnitudes.rend());
  const float threshold = magnitudes[17499];
  size_t kept = 0;
  for (size_t i = 0; i < delta.size(); ++i) {
    EXPECT_EQ(found[i], std::fabs(delta[i]) >= threshold ? delta[i] : 0.0f) << i;
    if (found[i] != 0) ++kept;
  }
  EXPECT_EQ(kept, 17500u);
  EXPECT_NEAR(written->result.relative_error, RelativeError(delta, found), 1e-9);
}

TEST_F(V1WriterTest, QuantizedHasASignForEachAndAScaleForEachRow) {
  const std::vector<float> delta = {1, -1, 3, -3, -0.5f, 0.5f, 0.5f, -0.5f, 0, 2, 0, 2};
  const auto written = Write({V1Strategy::kQuantized}, {3, 4}, delta);
  ASSERT_TRUE(written.ok()) << written.status();
  const std::vector<float> expected = {2, -2, 2, -2, -0.5f, 0.5f, 0.5f, -0.5f, 1, 1, 1, 1};
  EXPECT_EQ(ReadBack(*written, delta.size()), expected);
  EXPECT_NEAR(written->result.relative_error, RelativeError(delta, expected), 1e-9);
}

TEST_F(V1WriterTest, TiesGoToTheFirst) {
  const auto written = Write({V1Strategy::kSparse, 0.5}, {6}, {1, -1, 1, 1, -1, 2});
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(ReadBack(*written, 6), (std::vector<float>{1, -1, 0, 0, 0, 2}));
}

TEST_F(V1WriterTest, SmallAndFlatTensors) {
  for (const V1Strategy strategy :
       {V1Strategy::kInt4, V1Strategy::kSparse, V1Strategy::kQuantized}) {
    const auto one = Write({strategy}, {}, {0.25f});
    ASSERT_TRUE(one.ok()) << one.status();
    EXPECT_EQ(ReadBack(*one, 1), std::vector<float>{0.25f}) << V1StrategyName(strategy);
    const std::vector<float> zeros(101, 0.0f);
    const auto flat = Write({strategy}, {101}, zeros);
    ASSERT_TRUE(flat.ok()) << flat.status();
    EXPECT_EQ(ReadBack(*flat, 101), zeros) << V1StrategyName(strategy);
    EXPECT_EQ(flat->result.relative_error, 0);
  }
}

TEST_F(V1WriterTest, TensorsWithoutElements) {
  for (const V1Strategy strategy : {V1Strategy::kInt4, V1Strategy::kSparse}) {
    const auto empty = Write({strategy}, {0, 7}, {});
    ASSERT_TRUE(empty.ok()) << empty.status();
    EXPECT_TRUE(OpenV1Bytes(empty->bytes).ok());
  }
  const auto refused = Write({V1Strategy::kQuantized}, {0, 7}, {});
  EXPECT_EQ(ErrorReason(refused.status()), "V1_UNSUPPORTED") << refused.status();
}

TEST_F(V1WriterTest, RefusesWhatTheFormatCannotHold) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const V1Strategy strategy :
       {V1Strategy::kInt4, V1Strategy::kSparse, V1Strategy::kQuantized}) {
    for (const float value : {infinity, -infinity, std::nanf("")}) {
      EXPECT_EQ(ErrorReason(Write({strategy}, {2}, {0, value}).status()), "V1_UNSUPPORTED");
    }
  }
  EXPECT_EQ(ErrorReason(Write({V1Strategy::kInt4}, {2}, {0, 1e5f}).status()), "V1_UNSUPPORTED");
  EXPECT_TRUE(Write({V1Strategy::kSparse}, {2}, {0, 1e5f}).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(Write({V1Strategy::kSparse, 1.0}, {1}, {0}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Write({V1Strategy::kInt4}, {3}, {0}).status()));
}

TEST(Float16Test, EveryValueSurvives) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = Float16ToFloat32(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_GT(bits & 0x7fff, 0x7c00u);
    } else {
      EXPECT_EQ(Float32ToFloat16(value), bits);
    }
  }
}

TEST(Float16Test, RoundsToNearestTiesToEven) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = Float16ToFloat32(static_cast<uint16_t>(bits));
    const float high = Float16ToFloat32(static_cast<uint16_t>(bits + 1));
    const float middle = (low + high) / 2;  // exact
    EXPECT_EQ(Float32ToFloat16(middle), bits % 2 == 0 ? bits : bits + 1);
    EXPECT_EQ(Float32ToFloat16(std::nextafter(middle, low)), bits);
    EXPECT_EQ(Float32ToFloat16(-std::nextafter(middle, high)), (bits + 1) | 0x8000);
  }
  EXPECT_EQ(Float32ToFloat16(65519.0f), 0x7bff);
  EXPECT_EQ(Float32ToFloat16(65520.0f), 0x7c00);
  EXPECT_EQ(Float32ToFloat16(1e30f), 0x7c00);
}

TEST(HashOrderTest, ShardsAsTheNamesMeetThem) {
  // By name: a (2), b (1), c (2), d (1), so shard 2 comes first.
  const std::vector<V1Place> places = {{"d", "1"}, {"c", "2"}, {"b", "1"}, {"a", "2"}};
  EXPECT_EQ(V1HashOrder(places), (std::vector<uint32_t>{3, 1, 2, 0}));
}

}  // namespace
}  // namespace wdelta

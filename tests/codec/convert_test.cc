// Numbers of one dtype as those of another: against a slow conversion that is written from
// FORMAT.md, for every lane of the short dtypes and many of the long ones.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "storage/codec/converted_parent.h"
#include "storage/codec/kernels/convert_kernels.h"

namespace wdelta {
namespace {

constexpr DType kDTypes[] = {DType::kF16, DType::kBF16, DType::kF32, DType::kF64};

struct Layout {
  int exponent_bits;
  int mantissa_bits;
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  int sign_bit() const { return exponent_bits + mantissa_bits; }
  uint64_t infinity() const { return ((uint64_t{1} << exponent_bits) - 1) << mantissa_bits; }
};

Layout LayoutOf(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return {5, 10};
    case DType::kBF16:
      return {8, 7};
    case DType::kF32:
      return {8, 23};
    default:
      return {11, 52};
  }
}

// The magnitude of a number that is none of infinity and NaN.
double MagnitudeOf(const Layout& layout, uint64_t lane) {
  const uint64_t field = (lane & layout.infinity()) >> layout.mantissa_bits;
  const uint64_t mantissa = lane & ((uint64_t{1} << layout.mantissa_bits) - 1);
  const uint64_t whole = field == 0 ? mantissa : mantissa | uint64_t{1} << layout.mantissa_bits;
  const int exponent = static_cast<int>(field == 0 ? 1 : field) - layout.bias();
  return std::ldexp(static_cast<double>(whole), exponent - layout.mantissa_bits);
}

// Halves the interval of lanes in which the number lies: they ascend with their numbers.
uint64_t NearestLane(const Layout& layout, double magnitude) {
  uint64_t low = 0;
  uint64_t high = layout.infinity();
  while (high - low > 1) {
    const uint64_t middle = low + (high - low) / 2;
    (MagnitudeOf(layout, middle) <= magnitude ? low : high) = middle;
  }
  // One beyond the largest stands for infinity when it comes to rounding.
  const double low_number = MagnitudeOf(layout, low);
  const double high_number =
      high == layout.infinity() ? std::ldexp(1.0, layout.bias() + 1) : MagnitudeOf(layout, high);
  const double below = magnitude - low_number;
  const double above = high_number - magnitude;
  if (below != above) return below < above ? low : high;
  return low % 2 == 0 ? low : high;
}

uint64_t SlowlyConverted(DType from, uint64_t lane, DType to) {
  const bool is_short = to == DType::kF16 || to == DType::kBF16;
  if (from == DType::kF64 && is_short) {
    return SlowlyConverted(DType::kF32, SlowlyConverted(from, lane, DType::kF32), to);
  }
  const Layout layout = LayoutOf(from);
  const Layout target = LayoutOf(to);
  const uint64_t sign = lane >> layout.sign_bit() << target.sign_bit();
  const uint64_t magnitude = lane & ((uint64_t{1} << layout.sign_bit()) - 1);
  if (magnitude > layout.infinity()) {
    return sign | target.infinity() | uint64_t{1} << (target.mantissa_bits - 1);
  }
  if (magnitude == layout.infinity()) return sign | target.infinity();
  return sign | NearestLane(target, MagnitudeOf(layout, magnitude));
}

std::string LanesOf(DType dtype, const std::vector<uint64_t>& lanes) {
  std::string bytes;
  for (const uint64_t lane : lanes) {
    bytes.append(reinterpret_cast<const char*>(&lane), LaneBytes(dtype));
  }
  return bytes;
}

// All of the short dtypes; random ones of the long, most of them near what the short ones can
// tell apart.
std::vector<uint64_t> SomeLanes(DType dtype, std::mt19937_64& random) {
  const Layout layout = LayoutOf(dtype);
  std::vector<uint64_t> lanes;
  if (LaneBytes(dtype) == 2) {
    for (uint64_t lane = 0; lane < 65536; ++lane) lanes.push_back(lane);
    return lanes;
  }
  for (int i = 0; i < 20'000; ++i) {
    uint64_t lane = random() >> (63 - layout.sign_bit());
    if (i % 4 != 0) {
      const uint64_t field = layout.bias() - 30 + random() % 50;
      lane = (lane & ~layout.infinity()) | field << layout.mantissa_bits;
    }
    // Halfway between two lanes of fewer bits, and next to that.
    if (i % 3 == 0) {
      const int kept = static_cast<int>(random() % (layout.mantissa_bits - 2)) + 1;
      lane >>= layout.mantissa_bits - kept;
      lane = (2 * lane + 1) << (layout.mantissa_bits - kept - 1);
      lane += random() % 3 - 1;
    }
    lanes.push_back(lane);
  }
  for (const uint64_t special : {uint64_t{0}, uint64_t{1}, layout.infinity() - 1, layout.infinity(),
                                 layout.infinity() + 1, 2 * layout.infinity()}) {
    lanes.push_back(special);
    lanes.push_back(special | uint64_t{1} << layout.sign_bit());
  }
  return lanes;
}

TEST(ConvertTest, GivesTheNearestNumber) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const DType from : kDTypes) {
    for (const DType to : kDTypes) {
      if (from == to) continue;
      const std::vector<uint64_t> lanes = SomeLanes(from, random);
      const std::string bytes = LanesOf(from, lanes);
      std::string converted;
      ConvertNumbers(from, bytes, to, converted);
      ASSERT_EQ(converted.size(), lanes.size() * LaneBytes(to));
      std::string twin(converted.size(), '\0');
      kernels::portable::Convert(from, reinterpret_cast<const uint8_t*>(bytes.data()), to,
                                 lanes.size(), reinterpret_cast<uint8_t*>(twin.data()));
      EXPECT_TRUE(twin == converted) << DTypeName(from) << " to " << DTypeName(to);
      for (size_t i = 0; i < lanes.size(); ++i) {
        uint64_t found = 0;
        std::memcpy(&found, converted.data() + i * LaneBytes(to), LaneBytes(to));
        ASSERT_EQ(found, SlowlyConverted(from, lanes[i], to))
            << DTypeName(from) << " " << std::hex << lanes[i] << " to " << DTypeName(to);
      }
    }
  }
}

TEST(ConvertTest, AnyNumberOfLanes) {
  std::mt19937_64 random(1);
  for (size_t count = 0; count < 70; ++count) {
    const std::vector<uint64_t> all = SomeLanes(DType::kF32, random);
    const std::string bytes = LanesOf(DType::kF32, {all.begin(), all.begin() + count});
    std::string whole, part;
    ConvertNumbers(DType::kF32, LanesOf(DType::kF32, all), DType::kBF16, whole);
    ConvertNumbers(DType::kF32, bytes, DType::kBF16, part);
    EXPECT_EQ(part, whole.substr(0, 2 * count));
  }
}

TEST(ConvertTest, OnlyDifferentDTypesOfWeights) {
  EXPECT_TRUE(CanConvert(DType::kBF16, DType::kF16));
  EXPECT_TRUE(CanConvert(DType::kF64, DType::kF32));
  EXPECT_FALSE(CanConvert(DType::kBF16, DType::kBF16));
  EXPECT_FALSE(CanConvert(DType::kI16, DType::kBF16));
  EXPECT_FALSE(CanConvert(DType::kF32, DType::kF8E4M3));
}

}  // namespace
}  // namespace wdelta

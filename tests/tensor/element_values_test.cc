#include "storage/tensor/element_values.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace wdelta {
namespace {

constexpr DType kSmallFloats[] = {DType::kF16,    DType::kBF16,       DType::kF8E4M3,
                                  DType::kF8E5M2, DType::kF8E4M3FNUZ, DType::kF8E5M2FNUZ};

double Read(DType dtype, uint32_t code) {
  const std::string bytes(reinterpret_cast<const char*>(&code), BytesPerNumber(dtype));
  double number = 0;
  EXPECT_TRUE(ReadNumbers(dtype, bytes, absl::MakeSpan(&number, 1)).ok());
  return number;
}

uint32_t Write(DType dtype, float number) {
  const auto bytes = WriteNumbers(dtype, absl::MakeConstSpan(&number, 1));
  EXPECT_TRUE(bytes.ok());
  uint32_t code = 0;
  std::memcpy(&code, bytes->data(), bytes->size());
  return code;
}

TEST(ElementValuesTest, KnownNumbers) {
  EXPECT_EQ(Read(DType::kF8E4M3, 0x7e), 448);
  EXPECT_TRUE(std::isnan(Read(DType::kF8E4M3, 0xff)));
  EXPECT_EQ(Read(DType::kF8E5M2, 0x7b), 57344);
  EXPECT_TRUE(std::isinf(Read(DType::kF8E5M2, 0xfc)));
  EXPECT_EQ(Read(DType::kF8E4M3FNUZ, 0x7f), 240);
  EXPECT_TRUE(std::isnan(Read(DType::kF8E4M3FNUZ, 0x80)));
  EXPECT_EQ(Read(DType::kF8E5M2FNUZ, 0x7f), 57344);
  EXPECT_EQ(Read(DType::kF8E8M0, 128), 2);
  EXPECT_EQ(Read(DType::kF16, 0x3c01), 1 + 0x1p-10);
  EXPECT_EQ(Read(DType::kF16, 0x8001), -0x1p-24);
  EXPECT_EQ(Read(DType::kBF16, 0x3f80), 1);
  EXPECT_EQ(Read(DType::kI8, 0xff), -1);
  EXPECT_EQ(Read(DType::kU16, 0xffff), 65535);
  EXPECT_EQ(Read(DType::kBool, 7), 1);
}

TEST(ElementValuesTest, EveryCodeComesBack) {
  for (const DType dtype : kSmallFloats) {
    const uint32_t codes = BytesPerNumber(dtype) == 1 ? 256 : 65536;
    for (uint32_t code = 0; code < codes; ++code) {
      const double number = Read(dtype, code);
      const uint32_t back = Write(dtype, static_cast<float>(number));
      if (std::isnan(number)) {
        ASSERT_TRUE(std::isnan(Read(dtype, back))) << DTypeName(dtype) << " " << code;
      } else {
        ASSERT_EQ(back, code) << DTypeName(dtype);
      }
    }
  }
}

// Against a search of all codes.
TEST(ElementValuesTest, RoundsToTheNearestAndTiesToEven) {
  const uint32_t seed = 20230607;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (const DType dtype : kSmallFloats) {
    const uint32_t end = BytesPerNumber(dtype) == 1 ? 0x7f : 0x7fff;
    std::vector<double> codes;
    for (uint32_t code = 0; code <= end && std::isfinite(Read(dtype, code)); ++code) {
      codes.push_back(Read(dtype, code));
    }
    for (int i = 0; i < 2000; ++i) {
      const size_t below = random() % (codes.size() - 1);
      const double share = (random() % 5) / 4.0;  // 0.5 is a tie
      const auto number =
          static_cast<float>(codes[below] + share * (codes[below + 1] - codes[below]));
      const double middle = (codes[below] + codes[below + 1]) / 2;
      const bool goes_up = number > middle || (number == middle && below % 2 == 1);
      ASSERT_EQ(Write(dtype, number), below + (goes_up ? 1 : 0)) << DTypeName(dtype) << number;
    }
  }
}

// Through float32 first, each of these would be rounded twice and wrongly.
TEST(ElementValuesTest, DoublesAreRoundedOnce) {
  const auto write = [](DType dtype, double number) {
    uint32_t code = 0;
    const std::string bytes = WriteNumbers(dtype, absl::MakeConstSpan(&number, 1)).value();
    std::memcpy(&code, bytes.data(), bytes.size());
    return code;
  };
  EXPECT_EQ(write(DType::kBF16, 1 + 0x1p-8 + 0x1p-40), 0x3f81u);
  EXPECT_EQ(write(DType::kBF16, 1 + 0x1p-8), 0x3f80u);
  EXPECT_EQ(write(DType::kBF16, 1 + 3 * 0x1p-8 - 0x1p-40), 0x3f81u);
  EXPECT_EQ(write(DType::kF16, -(1 + 0x1p-11 + 0x1p-40)), 0xbc01u);
  EXPECT_EQ(write(DType::kF8E4M3, 1 + 0x1p-4 + 0x1p-50), 0x39u);
  EXPECT_EQ(write(DType::kF16, 0x1p-25 + 0x1p-60), 0x0001u);
  EXPECT_EQ(write(DType::kBF16, 1e300), 0x7f80u);
  EXPECT_EQ(write(DType::kBF16, -1e-300), 0x8000u);
  EXPECT_EQ(write(DType::kF32, 1 + 0x1p-24 + 0x1p-50), 0x3f800001u);
  EXPECT_EQ(write(DType::kF32, std::numeric_limits<double>::quiet_NaN()), 0x7fc00000u);
  for (const DType dtype : kSmallFloats) {
    std::mt19937 random(7);
    for (int i = 0; i < 1000; ++i) {
      const auto number = std::bit_cast<float>(static_cast<uint32_t>(random()));
      EXPECT_EQ(write(dtype, number), Write(dtype, number)) << DTypeName(dtype) << " " << number;
    }
  }
  const double third = 1.0 / 3;
  EXPECT_EQ(WriteNumbers(DType::kF64, absl::MakeConstSpan(&third, 1)).value(),
            std::string(reinterpret_cast<const char*>(&third), sizeof(third)));
}

TEST(ElementValuesTest, WhatIsTooLargeIsInfinityOrNaN) {
  EXPECT_EQ(Write(DType::kF16, 1e6f), 0x7c00u);
  EXPECT_EQ(Write(DType::kBF16, -std::numeric_limits<float>::max()), 0xff80u);
  EXPECT_EQ(Write(DType::kF8E5M2, 1e6f), 0x7cu);
  EXPECT_EQ(Write(DType::kF8E4M3, 1e6f), 0x7fu);
  EXPECT_EQ(Write(DType::kF8E4M3FNUZ, -1e6f), 0x80u);
  EXPECT_EQ(Write(DType::kF8E4M3FNUZ, -0.0f), 0u);
  EXPECT_EQ(Write(DType::kF32, -std::numeric_limits<float>::quiet_NaN()), 0x7fc00000u);
}

TEST(ElementValuesTest, RefusesWhatItCannotDo) {
  double number = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(ReadNumbers(DType::kF4, "\1", absl::MakeSpan(&number, 1))));
  EXPECT_TRUE(absl::IsInvalidArgument(ReadNumbers(DType::kF16, "abc", absl::MakeSpan(&number, 1))));
  const float one = 1;
  EXPECT_TRUE(
      absl::IsInvalidArgument(WriteNumbers(DType::kI32, absl::MakeConstSpan(&one, 1)).status()));
}

}  // namespace
}  // namespace wdelta

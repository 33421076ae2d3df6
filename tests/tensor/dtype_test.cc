#include "storage/tensor/dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "storage/tensor/tensor_info.h"

namespace wdelta {
namespace {

using testing::HasSubstr;

struct Expected {
  int byte;
  const char* name;
  int bits;
  int lane_bytes;
  bool is_sign_magnitude;
};

// Bytes are frozen by the `.wdelta` format, names by safetensors.
constexpr Expected kExpected[] = {
    {1, "BOOL", 8, 1, false},    {2, "U8", 8, 1, false},          {3, "I8", 8, 1, false},
    {4, "U16", 16, 2, false},    {5, "I16", 16, 2, false},        {6, "U32", 32, 4, false},
    {7, "I32", 32, 4, false},    {8, "U64", 64, 8, false},        {9, "I64", 64, 8, false},
    {10, "F16", 16, 2, true},    {11, "BF16", 16, 2, true},       {12, "F32", 32, 4, true},
    {13, "F64", 64, 8, true},    {14, "F8_E4M3", 8, 1, true},     {15, "F8_E5M2", 8, 1, true},
    {16, "F8_E8M0", 8, 1, true}, {17, "F8_E4M3FNUZ", 8, 1, true}, {18, "F8_E5M2FNUZ", 8, 1, true},
    {19, "F6_E2M3", 6, 1, true}, {20, "F6_E3M2", 6, 1, true},     {21, "F4", 4, 1, true},
    {22, "C64", 64, 4, true},
};

TEST(DTypeTest, Table) {
  for (const Expected& expected : kExpected) {
    SCOPED_TRACE(expected.name);
    const auto dtype = DTypeFromByte(static_cast<uint8_t>(expected.byte));
    ASSERT_TRUE(dtype.ok()) << dtype.status();
    EXPECT_EQ(static_cast<int>(*dtype), expected.byte);
    EXPECT_EQ(DTypeName(*dtype), expected.name);
    EXPECT_EQ(ParseDType(expected.name).value(), *dtype);
    EXPECT_EQ(BitsPerElement(*dtype), expected.bits);
    EXPECT_EQ(LaneBytes(*dtype), expected.lane_bytes);
    EXPECT_EQ(IsSignMagnitude(*dtype), expected.is_sign_magnitude);
  }
}

TEST(DTypeTest, UnknownNamesAndBytes) {
  for (const char* name : {"", "bf16", "BF16 ", "F128", "F8", "C128"}) {
    EXPECT_EQ(ParseDType(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
  for (const int byte : {0, 23, 255}) {
    EXPECT_EQ(DTypeFromByte(static_cast<uint8_t>(byte)).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(TensorInfoTest, ElementCount) {
  EXPECT_EQ(ElementCount({}).value(), 1u);
  EXPECT_EQ(ElementCount({2, 3, 5}).value(), 30u);
  EXPECT_EQ(ElementCount({7, 0}).value(), 0u);
  EXPECT_EQ(ElementCount({UINT64_MAX, 1}).value(), UINT64_MAX);
  EXPECT_THAT(ElementCount({UINT64_MAX, 2}).status().message(),
              HasSubstr("shape [18446744073709551615,2]"));
  // Multiplied in order.
  EXPECT_EQ(ElementCount({0, UINT64_MAX, UINT64_MAX}).value(), 0u);
  EXPECT_FALSE(ElementCount({UINT64_MAX, UINT64_MAX, 0}).ok());
}

TEST(TensorInfoTest, TensorBytes) {
  EXPECT_EQ(TensorBytes(DType::kF32, {2, 3}).value(), 24u);
  EXPECT_EQ(TensorBytes(DType::kC64, {}).value(), 8u);
  EXPECT_EQ(TensorBytes(DType::kF4, {3, 2}).value(), 3u);
  EXPECT_EQ(TensorBytes(DType::kF6E3M2, {4}).value(), 3u);
  EXPECT_EQ(TensorBytes(DType::kF6E3M2, {0}).value(), 0u);
  EXPECT_FALSE(TensorBytes(DType::kF4, {1}).ok());
  EXPECT_FALSE(TensorBytes(DType::kF6E2M3, {2}).ok());
  EXPECT_EQ(TensorBytes(DType::kU8, {uint64_t{1} << 60}).value(), uint64_t{1} << 60);
  EXPECT_FALSE(TensorBytes(DType::kF64, {uint64_t{1} << 58}).ok());
}

}  // namespace
}  // namespace wdelta

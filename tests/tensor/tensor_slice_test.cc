// Slices of tensors against an obvious reference: elements one by one.
#include "storage/tensor/tensor_slice.h"

#include <numeric>
#include <random>
#include <string>

#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "tests/support/test_seed.h"

namespace wdelta {
namespace {

// Places within the tensor of all bytes of the slice, in order.
std::vector<uint64_t> PlacesByElement(const TensorInfo& tensor, const AxisSlice& part) {
  const uint64_t element_bytes = static_cast<uint64_t>(BitsPerElement(tensor.dtype)) / 8;
  const uint64_t inner = std::accumulate(tensor.shape.begin() + part.axis + 1, tensor.shape.end(),
                                         uint64_t{1}, std::multiplies<>());
  const uint64_t count = *ElementCount(tensor.shape);
  std::vector<uint64_t> places;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t position = i / inner % tensor.shape[part.axis];
    if (position < part.start || position >= part.stop) continue;
    for (uint64_t b = 0; b < element_bytes; ++b) places.push_back(i * element_bytes + b);
  }
  return places;
}

TEST(TensorSlice, IsWhatTheReferenceSays) {
  const uint32_t seed = testing::TestSeed();
  SCOPED_TRACE(testing::SeedTrace(seed));
  std::mt19937 random(seed);
  const std::vector<DType> dtypes = {DType::kU8, DType::kBF16, DType::kF32, DType::kF64,
                                     DType::kC64};
  for (int round = 0; round < 2000; ++round) {
    TensorInfo tensor{"t", dtypes[random() % dtypes.size()], {}};
    const size_t rank = 1 + random() % 4;
    for (size_t i = 0; i < rank; ++i) tensor.shape.push_back(random() % 7);
    AxisSlice part{static_cast<uint32_t>(random() % rank), 0, 0};
    const uint64_t length = tensor.shape[part.axis];
    part.start = random() % (length + 1);
    part.stop = part.start + random() % (length - part.start + 1);
    SCOPED_TRACE(absl::StrCat("[", absl::StrJoin(tensor.shape, ","), "] axis ", part.axis, " [",
                              part.start, ",", part.stop, ")"));
    const absl::StatusOr<TensorSlice> slice = TensorSlice::Make(tensor, part);
    ASSERT_TRUE(slice.ok()) << slice.status();
    const std::vector<uint64_t> places = PlacesByElement(tensor, part);
    ASSERT_EQ(slice->size_bytes(), places.size());
    ASSERT_EQ(slice->size_bytes(), *TensorBytes(tensor.dtype, slice->shape()));
    for (uint64_t offset = 0; offset < places.size(); ++offset) {
      ASSERT_EQ(slice->PlaceOf(offset), places[offset]) << offset;
    }
    const uint64_t total_bytes = *TensorBytes(tensor.dtype, tensor.shape);
    uint64_t before = 0;
    for (uint64_t place = 0; place <= total_bytes + 1; ++place) {
      ASSERT_EQ(slice->CountBefore(place), before) << place;
      if (before < places.size() && places[before] == place) ++before;
    }
    if (slice->is_contiguous() && !places.empty()) {
      EXPECT_EQ(places.back() - places.front() + 1, places.size());
    }
  }
}

std::string ReasonOf(const TensorInfo& tensor, const AxisSlice& part) {
  return ErrorReason(TensorSlice::Make(tensor, part).status());
}

TEST(TensorSlice, RefusesWhatIsNotThere) {
  const TensorInfo matrix{"m", DType::kF32, {3, 4}};
  EXPECT_EQ(ReasonOf(matrix, {2, 0, 1}), "BAD_SLICE");
  EXPECT_EQ(ReasonOf(matrix, {0, 2, 1}), "BAD_SLICE");
  EXPECT_EQ(ReasonOf(matrix, {0, 0, 4}), "SLICE_PAST_END");
  EXPECT_EQ(ReasonOf(matrix, {1, 5, 5}), "SLICE_PAST_END");
  EXPECT_EQ(ReasonOf(matrix, {1, ~uint64_t{0}, ~uint64_t{0}}), "SLICE_PAST_END");
  EXPECT_EQ(ReasonOf({"scalar", DType::kF32, {}}, {0, 0, 0}), "BAD_SLICE");
  const absl::Status status = TensorSlice::Make(matrix, {1, 0, 5}).status();
  EXPECT_TRUE(absl::IsOutOfRange(status));
  EXPECT_EQ(status.message(),
            "tensor 'm': axis 1 has 4 positions: expected a slice within them, found [0, 5)");
}

TEST(TensorSlice, ShapesThatOverflowAndEmptyOnes) {
  constexpr uint64_t kHuge = uint64_t{1} << 40;
  // No byte at all, though the product behind the axis exceeds 64 bits.
  const absl::StatusOr<TensorSlice> empty =
      TensorSlice::Make({"t", DType::kF32, {0, kHuge, kHuge}}, {1, 1, kHuge});
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_EQ(empty->size_bytes(), 0u);
  EXPECT_EQ(empty->shape(), (std::vector<uint64_t>{0, kHuge - 1, kHuge}));
  EXPECT_EQ(empty->CountBefore(100), 0u);
  EXPECT_TRUE(absl::IsInvalidArgument(
      TensorSlice::Make({"t", DType::kF32, {kHuge, kHuge}}, {0, 0, 1}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      TensorSlice::Make({"t", DType::kF64, {uint64_t{1} << 60}}, {0, 0, 1}).status()));
  // As large as bits can be counted.
  const absl::StatusOr<TensorSlice> large =
      TensorSlice::Make({"t", DType::kU8, {uint64_t{1} << 30, uint64_t{1} << 30}}, {1, 5, 6});
  ASSERT_TRUE(large.ok()) << large.status();
  EXPECT_EQ(large->size_bytes(), uint64_t{1} << 30);
  EXPECT_EQ(large->PlaceOf(large->size_bytes() - 1), (uint64_t{1} << 60) - (uint64_t{1} << 30) + 5);
}

TEST(TensorSlice, ElementsOfLessThanAByteGoInWholeBytes) {
  const TensorInfo nibbles{"n", DType::kF4, {4, 6}};
  EXPECT_EQ(TensorSlice::Make(nibbles, {0, 1, 3})->size_bytes(), 6u);
  EXPECT_EQ(TensorSlice::Make(nibbles, {1, 2, 4})->size_bytes(), 4u);
  EXPECT_EQ(ReasonOf(nibbles, {1, 1, 3}), "SLICE_SPLITS_BYTE");
  EXPECT_EQ(ReasonOf(nibbles, {1, 0, 3}), "SLICE_SPLITS_BYTE");
  // Rows of three nibbles do not begin with a byte, but two of them do.
  const TensorInfo odd{"o", DType::kF4, {4, 3}};
  EXPECT_EQ(TensorSlice::Make(odd, {0, 2, 4})->size_bytes(), 3u);
  EXPECT_EQ(ReasonOf(odd, {0, 1, 3}), "SLICE_SPLITS_BYTE");
  EXPECT_EQ(ReasonOf(odd, {1, 0, 2}), "SLICE_SPLITS_BYTE");
  EXPECT_EQ(TensorSlice::Make({"s", DType::kF6E2M3, {8, 4}}, {0, 1, 2})->PlaceOf(0), 3u);
}

}  // namespace
}  // namespace wdelta

#include "storage/tensor/slice_rules.h"

#include <string>

#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"

namespace wdelta {
namespace {

TensorInfo Matrix(const std::string& name) { return {name, DType::kBF16, {8, 6}}; }

// `AXIS [START,STOP)`, `whole`, or the reason of an error.
std::string PartOf(const std::vector<SliceRule>& rules, const TensorInfo& tensor) {
  const absl::StatusOr<std::optional<TensorSlice>> slice = SliceOf(rules, tensor);
  if (!slice.ok()) return ErrorReason(slice.status());
  if (!slice->has_value()) return "whole";
  const AxisSlice& part = (*slice)->part();
  return absl::StrCat(part.axis, " [", part.start, ",", part.stop, ")");
}

TEST(SliceRules, TheFirstThatMatchesDecides) {
  const std::vector<SliceRule> rules = {{"*.o.weight", 1, AxisShard{1, 2}},
                                        {"*.weight", 0, AxisRange{2, 5}},
                                        {"*.o.*", 0, AxisRange{0, 1}}};
  EXPECT_EQ(PartOf(rules, Matrix("a.o.weight")), "1 [3,6)");
  EXPECT_EQ(PartOf(rules, Matrix("a.q.weight")), "0 [2,5)");
  EXPECT_EQ(PartOf(rules, Matrix("a.o.bias")), "0 [0,1)");
  EXPECT_EQ(PartOf(rules, Matrix("norm")), "whole");
  EXPECT_EQ(PartOf({}, Matrix("norm")), "whole");
}

TEST(SliceRules, ARuleWithoutPatternIsForTensorsThatHaveItsAxis) {
  const std::vector<SliceRule> rules = {{"", 1, AxisShard{0, 3}}, {"", 0, AxisRange{4, 0}}};
  EXPECT_EQ(PartOf(rules, Matrix("m")), "1 [0,2)");
  EXPECT_EQ(PartOf(rules, {"v", DType::kF32, {9}}), "0 [4,9)") << "the next rule has its turn";
  EXPECT_EQ(PartOf(rules, {"scalar", DType::kF32, {}}), "whole");
  EXPECT_EQ(PartOf({{"v", 1, AxisShard{0, 3}}}, {"v", DType::kF32, {9}}), "BAD_SLICE");
  EXPECT_EQ(PartOf({{"v", 1, AxisRange{0, 3}}}, {"v", DType::kF32, {9}}), "BAD_SLICE");
}

TEST(SliceRules, RangesAndShards) {
  EXPECT_EQ(PartOf({{"m", 0, AxisRange{0, 0}}}, Matrix("m")), "whole");
  EXPECT_EQ(PartOf({{"m", 0, AxisRange{0, 8}}}, Matrix("m")), "whole");
  EXPECT_EQ(PartOf({{"m", 0, AxisShard{0, 1}}}, Matrix("m")), "whole");
  EXPECT_EQ(PartOf({{"m", 0, AxisRange{8, 0}}}, Matrix("m")), "0 [8,8)");
  EXPECT_EQ(PartOf({{"m", 0, AxisRange{9, 0}}}, Matrix("m")), "SLICE_PAST_END");
  EXPECT_EQ(PartOf({{"m", 0, AxisRange{1, 9}}}, Matrix("m")), "SLICE_PAST_END");
  EXPECT_EQ(PartOf({{"m", 0, AxisShard{7, 8}}}, Matrix("m")), "0 [7,8)");
  EXPECT_EQ(PartOf({{"m", 0, AxisShard{0, 3}}}, Matrix("m")), "UNEVEN_SHARD");
  EXPECT_EQ(PartOf({{"", 0, AxisShard{0, 16}}}, Matrix("m")), "UNEVEN_SHARD");
  EXPECT_EQ(PartOf({{"", 0, AxisShard{1, 16}}}, {"empty", DType::kF32, {0, 4}}), "whole");
}

TEST(SliceRules, AreCheckedWithoutATensor) {
  const auto message = [](const SliceRule& rule) {
    const absl::Status status = ValidateSliceRule(rule);
    EXPECT_EQ(ErrorReason(status), status.ok() ? "" : "BAD_SLICE");
    return std::string(status.message());
  };
  EXPECT_EQ(message({"", 63, AxisRange{7, 0}}), "");
  EXPECT_EQ(message({"", 0, AxisRange{7, 7}}), "");
  EXPECT_EQ(message({"", 0, AxisShard{3, 4}}), "");
  EXPECT_EQ(message({"", 64, AxisRange{}}), "axis: expected less than 64, found 64");
  EXPECT_EQ(message({"", 0, AxisRange{7, 6}}),
            "range: expected a stop of at least the start 7, found 6");
  EXPECT_EQ(message({"", 0, AxisShard{0, 0}}),
            "shard: expected an index below the count 0, found 0");
  EXPECT_EQ(message({"", 0, AxisShard{4, 4}}),
            "shard: expected an index below the count 4, found 4");
  EXPECT_EQ(message({std::string(limits::kMaxTensorPatternBytes + 1, 'x'), 0, AxisRange{}}),
            "name_pattern: expected at most 1024 bytes, found 1025");
}

}  // namespace
}  // namespace wdelta

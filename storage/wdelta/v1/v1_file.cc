#include "storage/wdelta/v1/v1_file.h"

#include <algorithm>
#include <numeric>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/wdelta/v1/format.h"

namespace wdelta {

absl::string_view V1StrategyName(V1Strategy strategy) {
  switch (strategy) {
    case V1Strategy::kSparse:
      return "sparse";
    case V1Strategy::kQuantized:
      return "quantized";
    case V1Strategy::kInt4:
      return "int4";
  }
  return "unknown";
}

absl::StatusOr<V1Strategy> ParseV1Strategy(absl::string_view name) {
  for (const V1Strategy strategy :
       {V1Strategy::kSparse, V1Strategy::kQuantized, V1Strategy::kInt4}) {
    if (name == V1StrategyName(strategy)) return strategy;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("strategy `", name, "`: expected int4, sparse or quantized"));
}

std::vector<uint32_t> V1HashOrder(const std::vector<V1Place>& places) {
  std::vector<uint32_t> order(places.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return places[a].name < places[b].name; });
  absl::flat_hash_map<absl::string_view, size_t> rank_of_shard;
  for (const uint32_t i : order) rank_of_shard.try_emplace(places[i].shard, rank_of_shard.size());
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return rank_of_shard.at(places[a].shard) < rank_of_shard.at(places[b].shard);
  });
  return order;
}

namespace v1_format {
namespace {

constexpr ArraySpec kSparseArrays[] = {{"indices", "int64", 8}, {"values", "float32", 4}};
constexpr ArraySpec kQuantizedArrays[] = {{"scales", "float16", 2}, {"packed_signs", "uint8", 1}};
constexpr ArraySpec kInt4Arrays[] = {{"outlier_idx", "int64", 8},
                                     {"outlier_vals", "float16", 2},
                                     {"scale", "float16", 2},
                                     {"zero_point", "float16", 2},
                                     {"packed", "uint8", 1}};

// Without overflow.
uint64_t DivideUp(uint64_t a, uint64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

}  // namespace

absl::Span<const ArraySpec> ArraysOf(V1Strategy strategy) {
  switch (strategy) {
    case V1Strategy::kSparse:
      return kSparseArrays;
    case V1Strategy::kQuantized:
      return kQuantizedArrays;
    case V1Strategy::kInt4:
      break;
  }
  return kInt4Arrays;
}

uint64_t ExpectedLength(const V1Tensor& tensor, size_t index) {
  switch (tensor.strategy) {
    case V1Strategy::kSparse:
      return tensor.element_count;
    case V1Strategy::kQuantized:
      return index == kScales ? tensor.element_count / tensor.row_elements
                              : DivideUp(tensor.element_count, 8);
    case V1Strategy::kInt4:
      break;
  }
  if (index <= kOutlierValues) return tensor.outlier_count;
  return index == kPacked ? DivideUp(tensor.element_count - tensor.outlier_count, 2) : 1;
}

absl::Status BadField(absl::string_view field, absl::string_view expected,
                      absl::string_view found) {
  return MakeError(absl::StatusCode::kDataLoss, "BAD_WDELTA",
                   absl::StrCat(field, ": expected ", expected, ", found ", found));
}

}  // namespace v1_format
}  // namespace wdelta

// The arithmetic of version 1: deltas added to the parent's values.
#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/wdelta/v1/array_access.h"
#include "storage/wdelta/v1/float_values.h"
#include "storage/wdelta/v1/format.h"
#include "storage/wdelta/v1/v1_reader.h"

namespace wdelta {
namespace {

using v1_format::LowerBound;
using v1_format::ReadElements;

constexpr size_t kElementsAtOnce = 16 * 1024;

absl::Status FileChanged(const V1Tensor& tensor) {
  return MakeError(
      absl::StatusCode::kDataLoss, "BAD_WDELTA",
      absl::StrCat("tensor '", tensor.name, "': its indices have changed since the file was read"));
}

}  // namespace

absl::Status V1Reader::AddDelta(uint32_t tensor, uint64_t first, absl::Span<float> values) const {
  if (tensor >= file_.tensors.size() || first > file_.tensors[tensor].element_count ||
      values.size() > file_.tensors[tensor].element_count - first) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", tensor, ": no elements ", first,
                                                   " to below ", first + values.size()));
  }
  const V1Tensor& info = file_.tensors[tensor];
  while (!values.empty()) {
    const absl::Span<float> part = values.subspan(0, kElementsAtOnce);
    switch (info.strategy) {
      case V1Strategy::kSparse:
        WDELTA_RETURN_IF_ERROR(AddSparse(info, first, part));
        break;
      case V1Strategy::kQuantized:
        WDELTA_RETURN_IF_ERROR(AddQuantized(info, first, part));
        break;
      case V1Strategy::kInt4:
        WDELTA_RETURN_IF_ERROR(AddInt4(info, first, part));
        break;
    }
    first += part.size();
    values.remove_prefix(part.size());
  }
  return absl::OkStatus();
}

absl::Status V1Reader::AddSparse(const V1Tensor& tensor, uint64_t first,
                                 absl::Span<float> values) const {
  const V1Array& indices = tensor.arrays[v1_format::kIndices];
  WDELTA_ASSIGN_OR_RETURN(const uint64_t begin, LowerBound(*source_, indices, first));
  WDELTA_ASSIGN_OR_RETURN(const uint64_t end, LowerBound(*source_, indices, first + values.size()));
  if (end < begin || end - begin > values.size()) return FileChanged(tensor);
  const uint64_t count = end - begin;
  WDELTA_ASSIGN_OR_RETURN(const auto kept, ReadElements<uint64_t>(*source_, indices, begin, count));
  WDELTA_ASSIGN_OR_RETURN(
      const auto deltas,
      ReadElements<float>(*source_, tensor.arrays[v1_format::kValues], begin, count));
  size_t next = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const bool is_kept = next < count && kept[next] == first + i;
    values[i] += is_kept ? deltas[next] : 0.0f;
    if (is_kept) ++next;
  }
  if (next < count) return FileChanged(tensor);
  return absl::OkStatus();
}

absl::Status V1Reader::AddQuantized(const V1Tensor& tensor, uint64_t first,
                                    absl::Span<float> values) const {
  const uint64_t last = first + values.size() - 1;
  const uint64_t first_row = first / tensor.row_elements;
  WDELTA_ASSIGN_OR_RETURN(
      const auto scales,
      ReadElements<uint16_t>(*source_, tensor.arrays[v1_format::kScales], first_row,
                             last / tensor.row_elements - first_row + 1));
  WDELTA_ASSIGN_OR_RETURN(const auto signs,
                          ReadElements<uint8_t>(*source_, tensor.arrays[v1_format::kPackedSigns],
                                                first / 8, last / 8 - first / 8 + 1));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint64_t element = first + i;
    const float scale = Float16ToFloat32(scales[element / tensor.row_elements - first_row]);
    const bool is_plus = (signs[element / 8 - first / 8] >> (7 - element % 8) & 1) != 0;
    values[i] += is_plus ? scale : -1.0f * scale;
  }
  return absl::OkStatus();
}

absl::Status V1Reader::AddInt4(const V1Tensor& tensor, uint64_t first,
                               absl::Span<float> values) const {
  const V1Array& indices = tensor.arrays[v1_format::kOutlierIndices];
  WDELTA_ASSIGN_OR_RETURN(const uint64_t begin, LowerBound(*source_, indices, first));
  WDELTA_ASSIGN_OR_RETURN(const uint64_t end, LowerBound(*source_, indices, first + values.size()));
  if (end < begin || end - begin > values.size()) return FileChanged(tensor);
  const uint64_t count = end - begin;
  WDELTA_ASSIGN_OR_RETURN(const auto outliers,
                          ReadElements<uint64_t>(*source_, indices, begin, count));
  WDELTA_ASSIGN_OR_RETURN(
      const auto outlier_values,
      ReadElements<uint16_t>(*source_, tensor.arrays[v1_format::kOutlierValues], begin, count));
  // `begin` outliers lie before `first`, so this many packed numbers do.
  if (begin > first) return FileChanged(tensor);
  const uint64_t first_packed = first - begin;
  const V1Array& packed = tensor.arrays[v1_format::kPacked];
  const uint64_t packed_begin = std::min(first_packed / 2, packed.length);
  const uint64_t packed_end = std::min((first_packed + values.size() + 1) / 2, packed.length);
  WDELTA_ASSIGN_OR_RETURN(const auto halves, ReadElements<uint8_t>(*source_, packed, packed_begin,
                                                                   packed_end - packed_begin));

  std::array<float, 16> grid;
  const float range = tensor.scale * 15.0f;
  for (int q = 0; q < 16; ++q) {
    grid[q] = static_cast<float>(q) / 15.0f * range + tensor.zero_point;
  }
  size_t next = 0;
  uint64_t number = first_packed;
  for (size_t i = 0; i < values.size(); ++i) {
    if (next < count && outliers[next] == first + i) {
      values[i] += Float16ToFloat32(outlier_values[next++]);
      continue;
    }
    const uint64_t at = number / 2 - packed_begin;
    if (at >= halves.size()) return FileChanged(tensor);
    values[i] += grid[number % 2 == 0 ? halves[at] >> 4 : halves[at] & 15];
    ++number;
  }
  return absl::OkStatus();
}

}  // namespace wdelta

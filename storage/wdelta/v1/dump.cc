#include "storage/wdelta/v1/dump.h"

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "storage/wdelta/v1/format.h"

namespace wdelta {
namespace {

uint64_t RawBytes(const V1Tensor& tensor) { return tensor.element_count * sizeof(float); }

// Elements with a value of their own: indices of sparse, outliers of int4.
uint64_t KeptElements(const V1Tensor& tensor) {
  return tensor.strategy == V1Strategy::kQuantized ? 0 : tensor.arrays[0].length;
}

// Bits of the file for each element.
double BitsPerElement(uint64_t bytes, uint64_t elements) {
  return elements == 0 ? 0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
}

std::string ToText(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  std::string out;
  for (const auto& row : rows) {
    for (size_t c = 0; c + 1 < row.size(); ++c) {
      absl::StrAppend(&out, row[c], std::string(widths[c] - row[c].size() + 2, ' '));
    }
    absl::StrAppend(&out, row.back(), "\n");
  }
  return out;
}

}  // namespace

std::string DumpV1Text(const V1Reader& reader) {
  const V1File& file = reader.file();
  std::vector<std::vector<std::string>> rows = {
      {"#", "STRATEGY", "SHAPE", "KEPT", "FLOAT32", "STORED", "BITS", "NAME"}};
  uint64_t elements = 0;
  uint64_t stored_bytes = 0;
  for (const V1Tensor& tensor : file.tensors) {
    elements += tensor.element_count;
    stored_bytes += tensor.stored_bytes;
    rows.push_back(
        {absl::StrCat(rows.size() - 1), std::string(V1StrategyName(tensor.strategy)),
         absl::StrCat("[", absl::StrJoin(tensor.shape, ","), "]"),
         absl::StrCat(KeptElements(tensor)), absl::StrCat(RawBytes(tensor)),
         absl::StrCat(tensor.stored_bytes),
         absl::StrFormat("%.3f", BitsPerElement(tensor.stored_bytes, tensor.element_count)),
         absl::Utf8SafeCEscape(tensor.name)});
  }
  return absl::StrCat(
      "wdelta version ", kV1Version, " (deltatensors, lossy)\nstrategy     ",
      V1StrategyName(file.strategy), "\nparent_hash  ", file.parent_hash.ToHex(), "\nfile_bytes   ",
      file.file_bytes, "\n\n", ToText(rows), "\ntotal: ", file.tensors.size(), " tensors, ",
      elements, " elements, arrays ", stored_bytes, " bytes, overhead ",
      file.file_bytes - stored_bytes, " bytes, ",
      absl::StrFormat("%.3f", BitsPerElement(file.file_bytes, elements)), " bits an element\n");
}

absl::StatusOr<std::string> DumpV1Json(const V1Reader& reader) {
  try {
    const V1File& file = reader.file();
    nlohmann::json tensors = nlohmann::json::array();
    uint64_t elements = 0;
    uint64_t stored_bytes = 0;
    for (const V1Tensor& tensor : file.tensors) {
      elements += tensor.element_count;
      stored_bytes += tensor.stored_bytes;
      tensors.push_back({{"name", tensor.name},
                         {"strategy", std::string(V1StrategyName(tensor.strategy))},
                         {"shape", tensor.shape},
                         {"element_count", tensor.element_count},
                         {"kept_elements", KeptElements(tensor)},
                         {"float32_bytes", RawBytes(tensor)},
                         {"stored_bytes", tensor.stored_bytes}});
    }
    const nlohmann::json out = {
        {"version", kV1Version},
        {"lossy", true},
        {"strategy", std::string(V1StrategyName(file.strategy))},
        {"parent_hash", file.parent_hash.ToHex()},
        {"file_bytes", file.file_bytes},
        {"tensors", tensors},
        {"totals",
         {{"tensors", file.tensors.size()},
          {"elements", elements},
          {"stored_bytes", stored_bytes},
          {"overhead_bytes", file.file_bytes - stored_bytes},
          {"bits_per_element", BitsPerElement(file.file_bytes, elements)}}}};
    return out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("JSON: ", error.what()));
  }
}

}  // namespace wdelta

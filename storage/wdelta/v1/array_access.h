// Reading parts of the arrays of a version 1 file. Private to the room.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/wdelta/v1/v1_file.h"

namespace wdelta::v1_format {

// Elements [first, first + count) of an array of Ts, which must lie within it.
template <typename T>
absl::StatusOr<std::vector<T>> ReadElements(const RandomAccessFile& file, const V1Array& array,
                                            uint64_t first, uint64_t count) {
  std::vector<T> elements(count);
  if (count == 0) return elements;
  WDELTA_RETURN_IF_ERROR(file.Read(array.offset_bytes + first * sizeof(T),
                                   reinterpret_cast<char*>(elements.data()), count * sizeof(T)));
  return elements;
}

// Position of the first index that is at least `element` in an ascending array.
inline absl::StatusOr<uint64_t> LowerBound(const RandomAccessFile& file, const V1Array& array,
                                           uint64_t element) {
  uint64_t begin = 0;
  uint64_t end = array.length;
  while (begin < end) {
    const uint64_t middle = begin + (end - begin) / 2;
    WDELTA_ASSIGN_OR_RETURN(const auto index, ReadElements<uint64_t>(file, array, middle, 1));
    if (index[0] < element) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

}  // namespace wdelta::v1_format

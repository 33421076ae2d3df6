// How a catalog's records lie in RocksDB: r<key> -> version as u64, then the value;
// m/revision -> the last revision as u64.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "rocksdb/slice.h"
#include "storage/base/byte_reader.h"

namespace wdelta {

inline constexpr absl::string_view kRevisionKey = "m/revision";
inline constexpr absl::string_view kAfterAllRecords = "s";
inline constexpr size_t kVersionBytes = sizeof(uint64_t);

inline std::string RecordKey(absl::string_view key) { return absl::StrCat("r", key); }

inline rocksdb::Slice ToSlice(absl::string_view text) { return {text.data(), text.size()}; }

inline absl::string_view ToView(const rocksdb::Slice& slice) {
  return {slice.data(), slice.size()};
}

inline std::string EncodeU64(uint64_t value) {
  std::string encoded;
  AppendU64(encoded, value);
  return encoded;
}

}  // namespace wdelta

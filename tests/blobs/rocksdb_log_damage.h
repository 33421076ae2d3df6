// Databases whose logs are damaged, for tests.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "storage/base/limits.h"
#include "storage/blobs/rocksdb_blob_store.h"
#include "storage/catalog/rocksdb_catalog.h"

namespace wdelta::testing {

// The reason of the error when a database lacks acknowledged writes.
inline constexpr char kWentBack[] = "DATABASE_WENT_BACK";

inline void FlipBit(const std::filesystem::path& path, uint64_t at, int bit) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(at));
  const char byte = static_cast<char>(file.get() ^ (1 << bit));
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}

// Of a database, with something in them, the oldest first.
inline std::vector<std::filesystem::path> LogsIn(const std::string& folder) {
  std::vector<std::filesystem::path> logs;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".log" && entry.file_size() > 0) logs.push_back(entry.path());
  }
  std::sort(logs.begin(), logs.end());
  return logs;
}

inline void CopyFolder(const std::string& from, const std::string& to) {
  std::filesystem::remove_all(to);
  std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
}

// The same for each `i`.
inline std::string ValueOf(int i, size_t size) {
  std::mt19937 random(static_cast<uint32_t>(i));
  std::string value(size, '\0');
  for (char& byte : value) byte = static_cast<char>(random());
  return value;
}

inline RocksdbCatalogOptions SmallCatalog() {
  RocksdbCatalogOptions options;
  options.memtable_bytes = 64 * limits::kKiB;
  return options;
}

inline RocksdbBlobStoreOptions SmallBlobStore() {
  RocksdbBlobStoreOptions options;
  options.memtable_bytes = 128 * limits::kKiB;
  return options;
}

}  // namespace wdelta::testing

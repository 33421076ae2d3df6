#include "client/cpp/file_hash.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>

#include "client/cpp/local_files.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kHashBytes = 1 * limits::kMiB;

}  // namespace

absl::Status HashFile(const RandomAccessFile& file, uint64_t size_bytes, Sha256Hasher& hasher) {
  std::string buffer;
  for (uint64_t offset = 0; offset < size_bytes; offset += buffer.size()) {
    buffer.resize(std::min(kHashBytes, size_bytes - offset));
    WDELTA_RETURN_IF_ERROR(file.Read(offset, buffer.data(), buffer.size()));
    hasher.Update(buffer);
  }
  return absl::OkStatus();
}

absl::Status HashFile(const std::string& file_name, uint64_t size_bytes, Sha256Hasher& hasher) {
  WDELTA_ASSIGN_OR_RETURN(const auto file, OpenLocalFile(file_name));
  return LocalFileError(HashFile(*file, size_bytes, hasher));
}

bool HoldsContent(const std::string& file_name, const v1::File& file) {
  std::error_code error;
  const bool is_alike = fs::is_regular_file(file_name, error) &&
                        fs::file_size(file_name, error) == file.size_bytes() && !error;
  if (!is_alike || file.sha256().empty()) return false;
  Sha256Hasher hasher;
  return HashFile(file_name, file.size_bytes(), hasher).ok() &&
         hasher.Current().ToHex() == file.sha256();
}

}  // namespace wdelta

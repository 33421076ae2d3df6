#include "client/cpp/pull_destination.h"

#include <cstdint>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "client/cpp/part_file.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;

// 0: no such file.
uint64_t SizeOf(const std::string& file_name) {
  std::error_code error;
  const uint64_t size_bytes = fs::file_size(file_name, error);
  return error ? 0 : size_bytes;
}

// The folder itself, or the nearest above it that exists.
fs::path ExistingFolder(const std::string& folder) {
  std::error_code error;
  fs::path path = fs::absolute(folder, error);
  while (!fs::exists(path, error) && path.has_parent_path() && path != path.parent_path()) {
    path = path.parent_path();
  }
  return path;
}

}  // namespace

absl::Status CheckDestination(const std::vector<v1::File>& files, const std::string& folder,
                              const std::string& link_from) {
  // What is replaced, and what an earlier pull has begun, takes no space a second time.
  int64_t needed_bytes = 0;
  for (const v1::File& file : files) {
    const std::string destination = absl::StrCat(folder, "/", file.path());
    std::error_code error;
    if (fs::is_directory(destination, error)) {
      return absl::InvalidArgumentError(absl::StrCat(destination, ": is a folder"));
    }
    const uint64_t there = SizeOf(destination);
    if (there == file.size_bytes()) continue;
    if (!link_from.empty() &&
        SizeOf(absl::StrCat(link_from, "/", file.path())) == file.size_bytes()) {
      continue;
    }
    const std::string tag = file.sha256().substr(0, kPartTagBytes);
    needed_bytes += static_cast<int64_t>(file.size_bytes()) - static_cast<int64_t>(there) -
                    static_cast<int64_t>(SizeOf(PartFile::NameOf(destination, tag))) -
                    static_cast<int64_t>(SizeOf(PartFile::FreshNameOf(destination)));
  }
  std::error_code error;
  const fs::space_info space = fs::space(ExistingFolder(folder), error);
  const bool is_known = !error && space.capacity > 0 && space.available != UINTMAX_MAX;
  if (!is_known || needed_bytes <= 0) return absl::OkStatus();
  if (static_cast<uint64_t>(needed_bytes) <= space.available) return absl::OkStatus();
  return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                   absl::StrCat(folder, ": expected space for ", needed_bytes, " bytes, found ",
                                space.available));
}

}  // namespace wdelta

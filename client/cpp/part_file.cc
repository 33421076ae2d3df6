#include "client/cpp/part_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

absl::Status FileError(int error, absl::string_view action, const std::string& file) {
  const std::string message =
      absl::StrCat("cannot ", action, " ", file, ": ", std::generic_category().message(error));
  if (error == ENOSPC || error == EDQUOT) {
    return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", message);
  }
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(message);
  return absl::InternalError(message);
}

}  // namespace

absl::StatusOr<PartFile> PartFile::Create(const std::string& destination) {
  const std::filesystem::path path(destination);
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error) return FileError(error.value(), "create folder", path.parent_path().string());
  if (std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat(destination, ": is a folder"));
  }
  const std::string part =
      (path.parent_path() / absl::StrCat(".", path.filename().string(), kPartSuffix)).string();
  const int descriptor =
      open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor < 0) return FileError(errno, "create", part);
  return PartFile(destination, part, descriptor);
}

PartFile::PartFile(PartFile&& other) noexcept
    : destination_(std::move(other.destination_)),
      part_(std::move(other.part_)),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

PartFile::~PartFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(part_.c_str());
}

absl::Status PartFile::Append(absl::string_view data) {
  while (!data.empty()) {
    const ssize_t written = write(descriptor_, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(errno, "write", part_);
    data.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status PartFile::Commit() {
  // Some file systems report a full disk only here.
  if (close(std::exchange(descriptor_, -1)) != 0) {
    const int error = errno;
    unlink(part_.c_str());
    return FileError(error, "close", part_);
  }
  if (std::rename(part_.c_str(), destination_.c_str()) != 0) {
    const int error = errno;
    unlink(part_.c_str());
    return FileError(error, "rename to", destination_);
  }
  return absl::OkStatus();
}

}  // namespace wdelta

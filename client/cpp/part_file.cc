#include "client/cpp/part_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
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

// `.<name>.`
std::string PartPrefix(const std::string& destination) {
  return absl::StrCat(".", std::filesystem::path(destination).filename().string(), ".");
}

// Of the same destination, with whatever tag. A failure leaves a file that harms nobody.
void RemoveOtherParts(const std::string& destination) {
  const std::string prefix = PartPrefix(destination);
  std::filesystem::path folder = std::filesystem::path(destination).parent_path();
  if (folder.empty()) folder = ".";
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    // The tag holds no dot: `.a.b.wdelta-part` is of `a`, or without a tag of `a.b`.
    if (!absl::StartsWith(name, prefix) || !absl::EndsWith(name, kPartSuffix)) continue;
    if (name.size() != prefix.size() + kPartTagBytes + kPartSuffix.size()) continue;
    std::error_code ignored;
    std::filesystem::remove(entry->path(), ignored);
  }
}

}  // namespace

absl::StatusOr<PartFile> PartFile::Create(const std::string& destination) {
  return Open(destination, absl::StrCat(PartPrefix(destination), kPartSuffix.substr(1)), O_TRUNC);
}

absl::StatusOr<PartFile> PartFile::Resume(const std::string& destination, const std::string& tag,
                                          uint64_t max_bytes) {
  absl::StatusOr<PartFile> part =
      Open(destination, absl::StrCat(PartPrefix(destination), tag, kPartSuffix), O_APPEND);
  if (!part.ok()) return part;
  struct stat info = {};
  if (fstat(part->descriptor_, &info) != 0) return FileError(errno, "read", part->part_);
  part->resumed_bytes_ = static_cast<uint64_t>(info.st_size);
  if (part->resumed_bytes_ <= max_bytes) return part;
  if (ftruncate(part->descriptor_, 0) != 0) return FileError(errno, "cut", part->part_);
  part->resumed_bytes_ = 0;
  return part;
}

absl::StatusOr<PartFile> PartFile::Open(const std::string& destination,
                                        const std::string& part_name, int flags) {
  const std::filesystem::path path(destination);
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error) return FileError(error.value(), "create folder", path.parent_path().string());
  if (std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat(destination, ": is a folder"));
  }
  const std::string part = (path.parent_path() / part_name).string();
  const int descriptor =
      open(part.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0666);
  if (descriptor < 0) return FileError(errno, "create", part);
  return PartFile(destination, part, descriptor);
}

PartFile::PartFile(PartFile&& other) noexcept
    : destination_(std::move(other.destination_)),
      part_(std::move(other.part_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      resumed_bytes_(other.resumed_bytes_),
      is_kept_(other.is_kept_) {}

PartFile::~PartFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  if (!is_kept_) unlink(part_.c_str());
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
  RemoveOtherParts(destination_);
  return absl::OkStatus();
}

}  // namespace wdelta

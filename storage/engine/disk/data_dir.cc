#include "storage/engine/disk/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr absl::string_view kFormatPrefix = "wdelta-data ";
constexpr size_t kMaxSmallFileBytes = 64;
constexpr int kFileMode = 0644;

std::string LockPath(const std::string& dir) { return dir + "/LOCK"; }
std::string FormatPath(const std::string& dir) { return DataDir::FormatPath(dir); }
std::string TemporaryFormatPath(const std::string& dir) { return dir + "/FORMAT.tmp"; }

absl::Status ErrnoError(absl::string_view operation, absl::string_view path) {
  const int error = errno;
  const std::string message = absl::StrCat(operation, " ", path, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) {
    return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", message);
  }
  if (error == EACCES || error == EPERM || error == EROFS) {
    return absl::PermissionDeniedError(message);
  }
  return absl::InternalError(message);
}

absl::Status NotADataDirError(absl::string_view message) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "NOT_A_DATA_DIR", message);
}

// At most kMaxSmallFileBytes + 1 bytes from the start of a file.
absl::StatusOr<std::string> ReadStart(int fd, const std::string& path) {
  std::string text(kMaxSmallFileBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got =
        ::pread(fd, text.data() + size, text.size() - size, static_cast<off_t>(size));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError("read", path);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  text.resize(size);
  return text;
}

absl::Status WriteAll(int fd, absl::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return ErrnoError("write", path);
    text.remove_prefix(static_cast<size_t>(put));
  }
  return absl::OkStatus();
}

// The text of FORMAT; nullopt when there is none.
absl::StatusOr<std::optional<std::string>> ReadFormat(const std::string& dir) {
  const std::string path = FormatPath(dir);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return std::optional<std::string>();
  if (fd < 0) return ErrnoError("open", path);
  const absl::Cleanup close = [fd] { ::close(fd); };
  WDELTA_ASSIGN_OR_RETURN(std::string text, ReadStart(fd, path));
  return std::optional<std::string>(std::move(text));
}

// Only what a data folder in the making holds, and what a fresh file system does.
absl::Status CheckVacant(FileSystem& files, const std::string& dir) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(dir));
  for (const std::string& name : names) {
    if (name == "LOCK" || name == "FORMAT.tmp" || name == "lost+found") continue;
    return NotADataDirError(absl::StrCat("folder ", dir,
                                         " is not a data folder of wdelta: it has no FORMAT file, "
                                         "and is not empty: found `",
                                         absl::CHexEscape(name), "`"));
  }
  return absl::OkStatus();
}

absl::Status WriteFormat(FileSystem& files, const std::string& dir) {
  const std::string temporary = TemporaryFormatPath(dir);
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kFileMode);
  if (fd < 0) return ErrnoError("create", temporary);
  {
    const absl::Cleanup close = [fd] { ::close(fd); };
    WDELTA_RETURN_IF_ERROR(WriteAll(fd, absl::StrCat(kFormatPrefix, kDataFormat, "\n"), temporary));
    if (::fsync(fd) != 0) return ErrnoError("fsync", temporary);
  }
  if (::rename(temporary.c_str(), FormatPath(dir).c_str()) != 0) {
    return ErrnoError("rename", temporary);
  }
  return files.SyncDirectory(dir);
}

absl::Status InUseError(const std::string& dir, absl::string_view pid_text) {
  const absl::string_view pid = absl::StripAsciiWhitespace(pid_text);
  return MakeError(
      absl::StatusCode::kFailedPrecondition, "DATA_DIR_IN_USE",
      absl::StrCat("data folder ", dir, " is in use by another process",
                   pid.empty() ? "" : absl::StrCat(" (pid ", absl::CHexEscape(pid), ")")),
      {{"path", dir}});
}

// A descriptor that holds the lock; the caller closes it.
absl::StatusOr<int> TakeLock(const std::string& dir) {
  const std::string path = LockPath(dir);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kFileMode);
  if (fd < 0) return ErrnoError("open", path);
  absl::Cleanup close = [fd] { ::close(fd); };
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoError("flock", path);
    WDELTA_ASSIGN_OR_RETURN(const std::string pid, ReadStart(fd, path));
    return InUseError(dir, pid);
  }
  if (::ftruncate(fd, 0) != 0) return ErrnoError("truncate", path);
  WDELTA_RETURN_IF_ERROR(WriteAll(fd, absl::StrCat(::getpid(), "\n"), path));
  std::move(close).Cancel();
  return fd;
}

}  // namespace

absl::StatusOr<int> DataDir::ParseFormat(const std::string& dir, absl::string_view text) {
  absl::string_view number = text;
  int format = 0;
  const bool is_well_formed = absl::ConsumePrefix(&number, kFormatPrefix) &&
                              absl::ConsumeSuffix(&number, "\n") && !number.empty() &&
                              absl::ascii_isdigit(static_cast<unsigned char>(number.front())) &&
                              absl::ascii_isdigit(static_cast<unsigned char>(number.back())) &&
                              absl::SimpleAtoi(number, &format) && format > 0;
  if (!is_well_formed) {
    return NotADataDirError(absl::StrCat(FormatPath(dir), ": expected `", kFormatPrefix,
                                         kDataFormat, "`, found `", absl::CHexEscape(text), "`"));
  }
  if (format <= kDataFormat) return format;
  return MakeError(absl::StatusCode::kFailedPrecondition, "DATA_FORMAT_NEWER",
                   absl::StrCat("data folder ", dir, " was written by a newer wdelta: format ",
                                format, ", this one reads up to ", kDataFormat));
}

absl::StatusOr<DataDir> DataDir::Open(const std::string& path) {
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  WDELTA_RETURN_IF_ERROR(files->CreateDirectories(path));
  WDELTA_ASSIGN_OR_RETURN(std::optional<std::string> format, ReadFormat(path));
  // Before the lock too: a foreign folder gets no LOCK file.
  if (!format.has_value()) WDELTA_RETURN_IF_ERROR(CheckVacant(*files, path));

  WDELTA_ASSIGN_OR_RETURN(const int lock_fd, TakeLock(path));
  DataDir dir(path, lock_fd);
  WDELTA_ASSIGN_OR_RETURN(format, ReadFormat(path));
  if (format.has_value()) {
    WDELTA_ASSIGN_OR_RETURN(const int number, ParseFormat(path, *format));
    if (number < kDataFormat) WDELTA_RETURN_IF_ERROR(WriteFormat(*files, path));
  } else {
    WDELTA_RETURN_IF_ERROR(CheckVacant(*files, path));
    WDELTA_RETURN_IF_ERROR(WriteFormat(*files, path));
  }
  for (const std::string& room : {dir.blobs_path(), dir.catalog_path(), dir.staging_path()}) {
    WDELTA_RETURN_IF_ERROR(files->CreateDirectories(room));
  }
  WDELTA_RETURN_IF_ERROR(files->SyncDirectory(path));
  return dir;
}

absl::Status DataDir::CreateVacant(const std::string& path) {
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  WDELTA_RETURN_IF_ERROR(files->CreateDirectories(path));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> names, files->List(path));
  for (const std::string& name : names) {
    if (name == "LOCK" || name == "lost+found") continue;
    return MakeError(absl::StatusCode::kFailedPrecondition, "DATA_DIR_NOT_EMPTY",
                     absl::StrCat("folder ", path, ": expected none or an empty one, found `",
                                  absl::CHexEscape(name), "` in it"));
  }
  return absl::OkStatus();
}

absl::StatusOr<DataDir> DataDir::Lock(const std::string& path) {
  WDELTA_ASSIGN_OR_RETURN(const int lock_fd, TakeLock(path));
  return DataDir(path, lock_fd);
}

absl::Status DataDir::Mark(const std::string& path) {
  return WriteFormat(*NewPosixFileSystem(), path);
}

DataDir::DataDir(DataDir&& other) noexcept
    : path_(std::move(other.path_)), lock_fd_(std::exchange(other.lock_fd_, -1)) {}

DataDir& DataDir::operator=(DataDir&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(lock_fd_, other.lock_fd_);
  return *this;
}

DataDir::~DataDir() {
  // Closing releases the lock. The file stays: removing it would let two holders in.
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

}  // namespace wdelta

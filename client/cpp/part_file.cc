#include "client/cpp/part_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/local_files.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr int kMaxOpenAttempts = 16;

absl::Status FileError(int error, absl::string_view action, const std::string& file) {
  const std::string message =
      absl::StrCat("cannot ", action, " ", file, ": ", std::generic_category().message(error));
  if (error == ENOSPC || error == EDQUOT) {
    return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL", message);
  }
  const bool is_denied = error == EACCES || error == EPERM || error == EROFS;
  return LocalFileError(is_denied ? absl::PermissionDeniedError(message)
                                  : absl::InternalError(message));
}

// `.<name>.`
std::string PartPrefix(const std::string& destination) {
  return absl::StrCat(".", std::filesystem::path(destination).filename().string(), ".");
}

std::string Beside(const std::string& destination, const std::string& name) {
  return (std::filesystem::path(destination).parent_path() / name).string();
}

enum class LockResult { kLocked, kHeldByAnother, kFailed };

LockResult TryLock(int descriptor) {
  int result = 0;
  do {
    result = flock(descriptor, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return LockResult::kLocked;
  if (errno == EWOULDBLOCK) return LockResult::kHeldByAnother;
  // The file system has no locks.
  if (errno == EOPNOTSUPP || errno == ENOSYS || errno == ENOLCK) {
    return LockResult::kLocked;
  }
  return LockResult::kFailed;
}

// Whether `name` is still a name of the open file: another may have renamed or removed it
// before the lock was ours.
bool IsNameOf(const std::string& name, int descriptor) {
  struct stat open_file = {};
  struct stat named = {};
  return fstat(descriptor, &open_file) == 0 && lstat(name.c_str(), &named) == 0 &&
         open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

void RemoveUnlessLocked(const std::string& part) {
  const int descriptor = open(part.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return;
  if (TryLock(descriptor) == LockResult::kLocked && IsNameOf(part, descriptor)) {
    unlink(part.c_str());
  }
  close(descriptor);
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
    RemoveUnlessLocked(entry->path().string());
  }
}

}  // namespace

absl::StatusOr<PartFile> PartFile::Create(const std::string& destination) {
  absl::StatusOr<PartFile> part = Open(destination, FreshNameOf(destination));
  if (part.ok()) WDELTA_RETURN_IF_ERROR(part->CutTo(0));
  return part;
}

std::string PartFile::FreshNameOf(const std::string& destination) {
  return Beside(destination, absl::StrCat(PartPrefix(destination), kPartSuffix.substr(1)));
}

std::string PartFile::NameOf(const std::string& destination, const std::string& tag) {
  return Beside(destination, absl::StrCat(PartPrefix(destination), tag, kPartSuffix));
}

absl::StatusOr<PartFile> PartFile::Resume(const std::string& destination, const std::string& tag,
                                          uint64_t max_bytes) {
  absl::StatusOr<PartFile> part = Open(destination, NameOf(destination, tag));
  if (!part.ok()) return part;
  struct stat info = {};
  if (fstat(part->descriptor_, &info) != 0) return FileError(errno, "read", part->part_);
  part->size_bytes_ = static_cast<uint64_t>(info.st_size);
  if (part->size_bytes_ > max_bytes) WDELTA_RETURN_IF_ERROR(part->CutTo(0));
  part->resumed_bytes_ = part->size_bytes_;
  return part;
}

absl::StatusOr<PartFile> PartFile::Open(const std::string& destination, const std::string& part) {
  const std::filesystem::path path(destination);
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat(destination, ": is a folder"));
  }
  const absl::Status in_use =
      MakeError(absl::StatusCode::kAborted, "PART_IN_USE",
                absl::StrCat("another pull or export writes ", destination, " (", part, ")"),
                {{"file", destination}});
  for (int attempt = 0; attempt < kMaxOpenAttempts; ++attempt) {
    error.clear();
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
    if (error) return FileError(error.value(), "create folder", path.parent_path().string());
    const int descriptor =
        open(part.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666);
    // Another removed the folder.
    if (descriptor < 0 && errno == ENOENT) continue;
    if (descriptor < 0) return FileError(errno, "create", part);
    const LockResult locked = TryLock(descriptor);
    if (locked == LockResult::kLocked && IsNameOf(part, descriptor)) {
      return PartFile(destination, part, descriptor);
    }
    const int lock_error = errno;
    close(descriptor);
    if (locked == LockResult::kHeldByAnother) return in_use;
    if (locked == LockResult::kFailed) return FileError(lock_error, "lock", part);
  }
  // Others come and go all the time.
  return in_use;
}

PartFile::PartFile(PartFile&& other) noexcept
    : destination_(std::move(other.destination_)),
      part_(std::move(other.part_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      resumed_bytes_(other.resumed_bytes_),
      size_bytes_(other.size_bytes_),
      is_kept_(other.is_kept_) {}

PartFile::~PartFile() {
  if (descriptor_ < 0) return;
  // While the lock is ours: later the name may be another's.
  if (!is_kept_ && IsNameOf(part_, descriptor_)) unlink(part_.c_str());
  close(descriptor_);
}

absl::Status PartFile::CutTo(uint64_t size_bytes) {
  if (ftruncate(descriptor_, static_cast<off_t>(size_bytes)) != 0) {
    return FileError(errno, "cut", part_);
  }
  size_bytes_ = size_bytes;
  return absl::OkStatus();
}

absl::Status PartFile::Append(absl::string_view data) {
  while (!data.empty()) {
    const ssize_t written = write(descriptor_, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(errno, "write", part_);
    data.remove_prefix(static_cast<size_t>(written));
    size_bytes_ += static_cast<uint64_t>(written);
  }
  return absl::OkStatus();
}

absl::Status PartFile::CheckUnchanged() const {
  struct stat info = {};
  if (fstat(descriptor_, &info) != 0) return FileError(errno, "read", part_);
  const auto found_bytes = static_cast<uint64_t>(info.st_size);
  if (found_bytes == size_bytes_ && IsNameOf(part_, descriptor_)) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kAborted, "PART_CHANGED",
      absl::StrCat(part_, " was changed by another: expected ", size_bytes_, " bytes, found ",
                   found_bytes, found_bytes == size_bytes_ ? " under another name" : ""),
      {{"file", destination_}});
}

absl::Status PartFile::Commit() {
  WDELTA_RETURN_IF_ERROR(CheckUnchanged());
  // Some file systems report a full disk only when a descriptor is closed. The lock goes
  // with the last one, after the rename.
  const int copy = fcntl(descriptor_, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return FileError(errno, "close", part_);
  if (close(copy) != 0) return FileError(errno, "close", part_);
  if (std::rename(part_.c_str(), destination_.c_str()) != 0) {
    return FileError(errno, "rename to", destination_);
  }
  close(std::exchange(descriptor_, -1));
  RemoveOtherParts(destination_);
  return absl::OkStatus();
}

bool LinkInPlace(const std::string& from, const std::string& destination) {
  std::error_code error;
  const std::filesystem::path target = std::filesystem::canonical(from, error);
  if (error) return false;
  const std::filesystem::path path(destination);
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  // Of its own: a rename of one name to another of the same file would do nothing, and leave
  // both.
  if (std::filesystem::equivalent(target, path, error)) return true;
  absl::BitGen random;
  const std::filesystem::path temporary =
      path.parent_path() / absl::StrCat(PartPrefix(destination), "link-",
                                        absl::Hex(absl::Uniform<uint64_t>(random)), kPartSuffix);
  std::filesystem::create_hard_link(target, temporary, error);
  if (error) return false;
  std::filesystem::rename(temporary, path, error);
  std::error_code ignored;
  if (error) std::filesystem::remove(temporary, ignored);
  return !error;
}

}  // namespace wdelta

#include "client/cpp/local_files.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/shell_pattern.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxFolderDepth = 64;

absl::Status NotAFile(const std::string& name, absl::string_view found) {
  return MakeError(absl::StatusCode::kInvalidArgument, "NOT_A_FILE",
                   absl::StrCat(name, ": expected a file, found ", found), {{"file", name}});
}

absl::Status CannotRead(const std::string& name, const std::error_code& error) {
  const absl::StatusCode code = error == std::errc::permission_denied
                                    ? absl::StatusCode::kPermissionDenied
                                    : absl::StatusCode::kInternal;
  return LocalFileError(
      absl::Status(code, absl::StrCat("cannot read ", name, ": ", error.message())));
}

bool IsExcluded(const std::vector<std::string>& exclude, const std::string& path) {
  return !exclude.empty() && MatchesAny(exclude, path);
}

absl::Status Walk(const fs::path& folder, const std::string& prefix, int depth,
                  const std::vector<std::string>& exclude, std::vector<LocalFile>& files) {
  if (depth > kMaxFolderDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder.string(), ": folders are nested deeper than ", kMaxFolderDepth));
  }
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.front() == '.') continue;
    const std::string path = absl::StrCat(prefix, name);
    if (IsExcluded(exclude, path)) continue;
    const fs::file_status own = entry->symlink_status(error);
    if (error) break;
    if (own.type() == fs::file_type::directory) {
      WDELTA_RETURN_IF_ERROR(
          Walk(entry->path(), absl::StrCat(path, "/"), depth + 1, exclude, files));
      continue;
    }
    WDELTA_RETURN_IF_ERROR(ValidateCheckpointPath(path));
    WDELTA_ASSIGN_OR_RETURN(LocalFile file, DescribeFile(entry->path().string(), path));
    files.push_back(std::move(file));
    if (files.size() > limits::kMaxEntriesPerUpload) {
      return MakeError(absl::StatusCode::kInvalidArgument, "TOO_MANY_FILES",
                       absl::StrCat("expected at most ", limits::kMaxEntriesPerUpload,
                                    " files in a checkpoint, found more"));
    }
  }
  if (error) return CannotRead(folder.string(), error);
  return absl::OkStatus();
}

}  // namespace

absl::Status LocalFileError(const absl::Status& status) {
  const bool has_none =
      (absl::IsPermissionDenied(status) || absl::IsInternal(status)) && ErrorReason(status).empty();
  return has_none ? MakeError(status.code(), kLocalFileReason, status.message()) : status;
}

absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenLocalFile(const std::string& file_name) {
  auto opened = NewPosixFileSystem()->OpenForRead(file_name);
  if (!opened.ok()) return LocalFileError(opened.status());
  return opened;
}

absl::StatusOr<LocalFile> DescribeFile(const std::string& file_name, const std::string& path) {
  std::error_code error;
  const fs::file_status own = fs::symlink_status(file_name, error);
  if (own.type() == fs::file_type::not_found) {
    return absl::NotFoundError(absl::StrCat(file_name, ": no such file"));
  }
  const fs::file_status target = fs::status(file_name, error);
  if (target.type() == fs::file_type::not_found) return NotAFile(file_name, "a dangling link");
  if (target.type() == fs::file_type::directory) {
    return NotAFile(file_name, fs::is_symlink(own) ? "a link to a folder" : "a folder");
  }
  if (target.type() == fs::file_type::none) return CannotRead(file_name, error);
  if (target.type() != fs::file_type::regular) return NotAFile(file_name, "something else");
  LocalFile file{
      .path = path, .file_name = file_name, .size_bytes = fs::file_size(file_name, error)};
  if (error) return CannotRead(file_name, error);
  return file;
}

absl::StatusOr<std::vector<LocalFile>> ListCheckpointFiles(
    const std::string& folder, const std::vector<std::string>& exclude) {
  std::error_code error;
  const fs::file_status status = fs::status(folder, error);
  if (status.type() == fs::file_type::not_found) {
    return absl::NotFoundError(absl::StrCat(folder, ": no such folder"));
  }
  if (status.type() != fs::file_type::directory) {
    return MakeError(absl::StatusCode::kInvalidArgument, "NOT_A_FOLDER",
                     absl::StrCat(folder, ": expected a folder"));
  }
  std::vector<LocalFile> files;
  WDELTA_RETURN_IF_ERROR(Walk(folder, "", 0, exclude, files));
  if (files.empty()) {
    return MakeError(absl::StatusCode::kInvalidArgument, "NO_FILES",
                     absl::StrCat(folder, ": no files in it",
                                  exclude.empty() ? "" : " but those that are excluded"));
  }
  std::sort(files.begin(), files.end(),
            [](const LocalFile& a, const LocalFile& b) { return a.path < b.path; });
  return files;
}

}  // namespace wdelta

// The files of a checkpoint folder on this machine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/file_system.h"

namespace wdelta {

struct LocalFile {
  std::string path;       // within the checkpoint, `/`-separated
  std::string file_name;  // to open it by
  uint64_t size_bytes = 0;
};

// All files under `folder` in order of path. Names that start with a dot (`.git`,
// `.cache`, `.gitattributes`) are left out. Links to files are followed, as model
// caches consist of them; a link to a folder, a dangling link or anything that is
// no file is INVALID_ARGUMENT (reason `NOT_A_FILE`), a path that the store would
// refuse `BAD_PATH`, an empty folder `NO_FILES`. NOT_FOUND: no such folder.
//
// Files and folders whose path within `folder` matches one of the shell patterns of `exclude` are
// left out, whatever they are; `*` matches `/` too.
absl::StatusOr<std::vector<LocalFile>> ListCheckpointFiles(
    const std::string& folder, const std::vector<std::string>& exclude = {});

// One file, to be known as `path`.
absl::StatusOr<LocalFile> DescribeFile(const std::string& file_name, const std::string& path);

// The reason of errors of this machine's files and folders that have none of their own.
inline constexpr char kLocalFileReason[] = "LOCAL_FILE";

// `status` of a file or folder of this machine: what may not be done with it (PERMISSION_DENIED) or
// went wrong (INTERNAL) gets that reason, so that it is told from what the server says. Anything
// else stays as it is.
absl::Status LocalFileError(const absl::Status& status);

// For reading; errors of the disk, as LocalFileError.
absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenLocalFile(const std::string& file_name);

}  // namespace wdelta

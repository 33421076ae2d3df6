// The daemon's data folder: one process at a time, one format.
//
//   LOCK      flock'ed while in use; holds the pid of the last holder
//   FORMAT    `wdelta-data <number>`; its presence makes a folder a data folder
//   blobs/    catalog/    staging/; the first two are databases, each with the number of its
//             last write in HIGH_WATER (storage/blobs/high_water_mark.h)
//   incoming/ what HTTP clients send before they commit it; worth nothing after a restart
//   backup/   what a running backup copies from; removed at the next start
//
// Format 1 kept every blob as one value; format 2 keeps it in parts and reads both. A
// folder of an older format is marked as of this one when it is opened, because older
// daemons cannot read what is written to it from then on.
#pragma once

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

inline constexpr int kDataFormat = 2;

// Holds the folder's lock while it lives. Movable; any thread may read it.
class DataDir {
 public:
  // Creates the folder, or takes an empty one, when there is none yet.
  // FAILED_PRECONDITION: `DATA_DIR_IN_USE` (another holder), `DATA_FORMAT_NEWER`,
  // `NOT_A_DATA_DIR` (something else lies there; it is left untouched).
  static absl::StatusOr<DataDir> Open(const std::string& path);

  DataDir(DataDir&& other) noexcept;
  DataDir& operator=(DataDir&& other) noexcept;
  ~DataDir();

  const std::string& path() const { return path_; }
  std::string blobs_path() const { return BlobsPath(path_); }
  std::string catalog_path() const { return CatalogPath(path_); }
  std::string staging_path() const { return StagingPath(path_); }
  std::string backup_path() const { return path_ + "/backup"; }
  std::string incoming_path() const { return path_ + "/incoming"; }

  // For whoever fills a folder before it is a data folder. The first takes an empty one, or
  // makes it: FAILED_PRECONDITION (`DATA_DIR_NOT_EMPTY`); one with a LOCK alone is empty. The
  // second holds its lock, whatever lies there: FAILED_PRECONDITION (`DATA_DIR_IN_USE`).
  static absl::Status CreateVacant(const std::string& path);
  static absl::StatusOr<DataDir> Lock(const std::string& path);
  // Makes what was filled a data folder. Durable once it returns.
  static absl::Status Mark(const std::string& path);
  static std::string FormatPath(const std::string& path) { return path + "/FORMAT"; }
  // The number in the text of a folder's FORMAT file. Errors: those of Open about formats.
  static absl::StatusOr<int> ParseFormat(const std::string& path, absl::string_view text);
  static std::string BlobsPath(const std::string& path) { return path + "/blobs"; }
  static std::string CatalogPath(const std::string& path) { return path + "/catalog"; }
  static std::string StagingPath(const std::string& path) { return path + "/staging"; }

 private:
  DataDir(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}

  std::string path_;
  int lock_fd_ = -1;
};

}  // namespace wdelta

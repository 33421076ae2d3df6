#include "server/offline.h"

#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "storage/backup/restore.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

std::string Describe(const store::v1::BackupRecord& record) {
  std::string text = absl::StrCat(
      absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixMicros(record.create_time_us()),
                       absl::UTCTimeZone()),
      "  ", record.model_count(), " models, ", record.total_bytes(), " bytes");
  if (record.staged_upload_count() > 0) {
    absl::StrAppend(&text, ", ", record.staged_upload_count(), " uploads not yet stored");
  }
  if (record.problem_count() > 0) {
    absl::StrAppend(&text, ", made of a damaged store: ", record.problem_count(),
                    " problems, the first: ", record.first_problem());
  }
  return text;
}

void PrintLine(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

// A signal ends the process.
absl::Status GoOn(uint64_t) { return absl::OkStatus(); }

}  // namespace

absl::Status VerifyBackupsOffline(const BackupSource& source) {
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  return VerifyBackups(
      *files, source.folder, GoOn,
      [](uint32_t id, const store::v1::BackupRecord& record, const absl::Status& status) {
        PrintLine(status.ok() ? absl::StrCat("backup ", id, "  ", Describe(record), "  ok")
                              : absl::StrCat("backup ", id, "  DAMAGED: ", status.message()));
      });
}

absl::Status RestoreOffline(const BackupSource& source, const std::string& data_dir) {
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  WDELTA_ASSIGN_OR_RETURN(const store::v1::BackupRecord record,
                          RestoreBackup(*files, source.folder, source.id, data_dir, GoOn));
  PrintLine(
      absl::StrCat("backup ", record.id(), "  ", Describe(record), "  restored into ", data_dir));
  return absl::OkStatus();
}

}  // namespace wdelta

#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/text.h"
#include "client/cpp/backup.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta admin backup /backups/wdelta\n"
    "  wdelta admin backup /backups/wdelta --keep 14 --output json\n";

constexpr char kOffline[] =
    "Without a daemon, on the machine that has the backups:\n"
    "  wdeltad --verify_backup=/backups/wdelta\n"
    "  wdeltad --restore_from=/backups/wdelta --data_dir=/new/folder\n"
    "  wdeltad --restore_from=/backups/wdelta --backup_id=3 --data_dir=/new/folder\n"
    "The folder of a restore is made, or empty; start a daemon on it afterwards.";

struct Arguments {
  std::string folder;
  uint32_t keep = 0;
  bool no_verify = false;
};

void Add(CLI::App& command, Arguments& arguments) {
  command
      .add_option("DIR", arguments.folder,
                  "Folder on the daemon's machine, absolute; made when absent")
      ->required();
  command
      .add_option("--keep", arguments.keep,
                  "Backups that stay in the folder, this one included; 0: all")
      ->capture_default_str();
  command.add_flag("--no-verify,--no_verify", arguments.no_verify,
                   "Do not read the backup again to compare checksums");
}

const char* PhaseWord(v1::BackupProgress::Phase phase) {
  switch (phase) {
    case v1::BackupProgress::FREEZING:
      return "freezing the store";
    case v1::BackupProgress::CATALOG:
      return "copying the catalog";
    case v1::BackupProgress::BLOBS:
      return "copying blobs";
    case v1::BackupProgress::UPLOADS:
      return "copying uploads";
    case v1::BackupProgress::VERIFYING:
      return "verifying";
    default:
      return "working";
  }
}

// On a terminal only: a timer's log wants the outcome.
class PhaseLine {
 public:
  explicit PhaseLine(bool is_quiet) : is_shown_(!is_quiet && isatty(STDERR_FILENO) != 0) {}
  ~PhaseLine() {
    if (is_drawn_) std::fputc('\n', stderr);
  }
  void Update(const v1::BackupProgress& progress) {
    if (!is_shown_) return;
    is_drawn_ = true;
    std::fprintf(stderr, "\r%s, %s read\033[K", PhaseWord(progress.phase()),
                 HumanBytes(progress.read_bytes()).c_str());
    std::fflush(stderr);
  }

 private:
  const bool is_shown_;
  bool is_drawn_ = false;
};

Json SummaryJson(const v1::BackupSummary& summary) {
  const std::vector<uint32_t> kept_ids(summary.kept_backup_ids().begin(),
                                       summary.kept_backup_ids().end());
  return {{"folder", summary.folder()},
          {"backup_id", summary.backup_id()},
          {"total_bytes", summary.total_bytes()},
          {"new_bytes", summary.new_bytes()},
          {"model_count", summary.model_count()},
          {"staged_upload_count", summary.staged_upload_count()},
          {"verified", summary.verified()},
          {"problem_count", summary.problem_count()},
          {"first_problem", summary.first_problem()},
          {"kept_backup_ids", kept_ids}};
}

std::string SummaryLine(const v1::BackupSummary& summary) {
  std::string line = absl::StrCat("backup ", summary.backup_id(), "  ", summary.model_count(),
                                  " models, ", HumanBytes(summary.total_bytes()), ", ",
                                  HumanBytes(summary.new_bytes()), " of it new");
  if (summary.staged_upload_count() > 0) {
    absl::StrAppend(&line, ", ", summary.staged_upload_count(), " uploads not yet stored");
  }
  absl::StrAppend(&line, summary.verified() ? ", verified" : ", not verified", "  in ",
                  summary.folder(), " (", absl::StrJoin(summary.kept_backup_ids(), ", "), ")");
  return line;
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  v1::BackupRequest request;
  request.set_folder(arguments.folder);
  request.set_keep(arguments.keep);
  request.set_skip_verification(arguments.no_verify);
  v1::BackupSummary summary;
  {
    PhaseLine line(session.quiet);
    WDELTA_ASSIGN_OR_RETURN(
        summary, MakeBackup(*client, request,
                            [&](const v1::BackupProgress& progress) { line.Update(progress); }));
  }
  if (session.is_json()) session.PrintJson(SummaryJson(summary));
  session.Say(SummaryLine(summary));
  if (summary.problem_count() == 0) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kDataLoss, "STORE_DAMAGED",
      absl::StrCat("the backup was made, but the store misses what its catalog names, ",
                   summary.problem_count(), " times, the first: ", summary.first_problem()));
}

}  // namespace

void AddAdminCommand(CLI::App& app, Session& session) {
  CLI::App* const admin = app.add_subcommand("admin", "Backups of the whole store");
  admin->require_subcommand(1);
  admin->footer(kOffline);
  AddCommand<Arguments>(*admin, session, "backup",
                        "Add a backup to a folder; only what is not there yet is copied", kExamples,
                        Add, Run);
}

}  // namespace wdelta

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/progress_bar.h"
#include "client/cli/text.h"
#include "client/cpp/pull.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta pull qwen-wiki@prod ./qwen-wiki\n"
    "  wdelta pull qwen-wiki@prod ./new --link-from ./qwen-wiki\n"
    "  wdelta pull qwen-wiki . --file config.json --file tokenizer.json\n";

constexpr uint32_t kMaxJobs = 64;

struct Arguments {
  std::string model;
  std::string folder;
  std::vector<std::string> paths;
  std::string verify = "sha256";
  std::string link_from;
  uint32_t jobs = PullOptions().jobs;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.model, "NAME, NAME@TAG, sha256:HEX or id:ID")->required();
  command.add_option("DIR", arguments.folder, "Folder to write to; files that differ are replaced")
      ->required();
  command.add_option("--file", arguments.paths, "Only this path of the model; may be repeated")
      ->allow_extra_args(false);
  command
      .add_option("--verify", arguments.verify,
                  "sha256: of every whole file; checksum: of every piece only")
      ->check(CLI::IsMember({"sha256", "checksum"}))
      ->capture_default_str();
  command.add_option("--link-from", arguments.link_from,
                     "Folder of an earlier pull: files that have not changed are hard-linked");
  command.add_option("--jobs", arguments.jobs, "Files in transfer at once")
      ->check(CLI::Range(1U, kMaxJobs))
      ->capture_default_str();
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  PullOptions options{.paths = arguments.paths};
  options.link_from = arguments.link_from;
  options.jobs = arguments.jobs;
  if (arguments.verify == "checksum") options.verify = Verify::kChecksum;
  absl::StatusOr<PullResult> result;
  {
    ProgressBar bar("pull", session.quiet);
    options.progress = [&bar](const Progress& progress) { bar.Update(progress); };
    result = PullModel(*client, arguments.model, arguments.folder, options);
  }
  WDELTA_RETURN_IF_ERROR(result.status());
  if (session.is_json()) {
    session.PrintJson({{"model", ModelJson(result->model)},
                       {"file_count", result->file_count},
                       {"unchanged_count", result->unchanged_count},
                       {"linked_count", result->linked_count},
                       {"received_bytes", result->received_bytes},
                       {"verified", arguments.verify}});
  }
  std::string there;
  if (result->unchanged_count > 0) {
    absl::StrAppend(&there, ", ", result->unchanged_count, " were there");
  }
  if (result->linked_count > 0) absl::StrAppend(&there, ", ", result->linked_count, " linked");
  session.Say(absl::StrCat(result->model.name(), "  id:", result->model.id(), "  ",
                           result->file_count, " files, ", HumanBytes(result->received_bytes),
                           " in ", arguments.folder, there, ", ", arguments.verify, " verified"));
  return absl::OkStatus();
}

}  // namespace

void AddPullCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "pull", "Write a model's files to a folder", kExamples, Add,
                        Run);
}

}  // namespace wdelta

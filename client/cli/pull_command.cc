#include <cstdio>

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
    "  wdelta pull qwen-wiki@prod ./new --have qwen=./qwen\n"
    "  wdelta pull qwen-wiki . --file config.json --file 'tokenizer*'\n";

constexpr uint32_t kMaxJobs = 64;

struct Arguments {
  std::string model;
  std::string folder;
  std::vector<std::string> paths;
  std::string verify = "sha256";
  std::string link_from;
  std::vector<std::string> have;
  bool only_delta = false;
  uint32_t jobs = PullOptions().jobs;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.model, "NAME, NAME@TAG, sha256:HEX or id:ID")->required();
  command
      .add_option("DIR,--into", arguments.folder,
                  "Folder to write to; files that differ are replaced")
      ->required();
  command
      .add_option("--file", arguments.paths,
                  "Only this path of the model, or a shell pattern of paths; may be repeated")
      ->allow_extra_args(false);
  command
      .add_option("--verify", arguments.verify,
                  "sha256: of every whole file; checksum: of every piece only")
      ->check(CLI::IsMember({"sha256", "checksum"}))
      ->capture_default_str();
  command.add_option("--link-from", arguments.link_from,
                     "Folder of an earlier pull: files that have not changed are hard-linked");
  command
      .add_option("--have", arguments.have,
                  "MODEL=FOLDER: a stored model whose files the folder holds, unchanged; only the "
                  "difference to it is fetched, or missing files where they are fewer bytes. May "
                  "be repeated")
      ->allow_extra_args(false);
  command
      .add_flag("--only-delta", arguments.only_delta,
                "Fetch no file, however small: make all that is missing from what --have names, or "
                "end with an error")
      ->needs("--have");
  command.add_option("--jobs", arguments.jobs, "Files in transfer at once")
      ->check(CLI::Range(1U, kMaxJobs))
      ->capture_default_str();
}

absl::StatusOr<std::vector<HeldFolder>> HeldFolders(const std::vector<std::string>& have) {
  std::vector<HeldFolder> held;
  for (const std::string& text : have) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--have: expected MODEL=FOLDER, found `", text, "`"));
    }
    held.push_back({text.substr(0, equals), text.substr(equals + 1)});
  }
  return held;
}

absl::Status Run(Session& session, const Arguments& arguments) {
  PullOptions options{.paths = arguments.paths};
  WDELTA_ASSIGN_OR_RETURN(options.held, HeldFolders(arguments.have));
  options.requires_delta = arguments.only_delta;
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  options.link_from = arguments.link_from;
  options.jobs = arguments.jobs;
  if (arguments.verify == "checksum") options.verify = Verify::kChecksum;
  absl::StatusOr<PullResult> result;
  {
    ProgressBar bar("pull", session.quiet);
    options.progress = [&bar](const Progress& progress) { bar.Update(progress); };
    options.on_stall = [&bar](const absl::Status& reason) { bar.Say(StallLine("pull", reason)); };
    result = PullModel(*client, arguments.model, arguments.folder, options);
  }
  WDELTA_RETURN_IF_ERROR(result.status());
  // What was decoded here was hashed in any case.
  const bool is_all_decoded = result->applied_count > 0 && result->held_refusal.ok();
  const std::string verified = is_all_decoded ? "sha256" : arguments.verify;
  if (session.is_json()) {
    session.PrintJson({{"model", ModelJson(result->model)},
                       {"file_count", result->file_count},
                       {"unchanged_count", result->unchanged_count},
                       {"linked_count", result->linked_count},
                       {"applied_count", result->applied_count},
                       {"held_refusal", result->held_refusal.message()},
                       {"received_bytes", result->received_bytes},
                       {"total_bytes", result->total_bytes},
                       {"verified", verified}});
  }
  if (!result->held_refusal.ok()) {
    std::fprintf(stderr, "wdelta: pull: %s fetched: %s\n",
                 result->applied_count > 0 ? "some files were" : "all was",
                 Printable(std::string(result->held_refusal.message())).c_str());
  }
  std::string there;
  if (result->unchanged_count > 0) {
    absl::StrAppend(&there, ", ", result->unchanged_count, " were there");
  }
  if (result->linked_count > 0) absl::StrAppend(&there, ", ", result->linked_count, " linked");
  std::string received = HumanBytes(result->received_bytes);
  if (result->applied_count > 0) {
    absl::StrAppend(&received, " over the wire of ", HumanBytes(result->total_bytes));
  }
  session.Say(absl::StrCat(result->model.name(), "  id:", result->model.id(), "  ",
                           result->file_count, " files, ", received, " in ", arguments.folder,
                           there, ", ", verified, " verified"));
  return absl::OkStatus();
}

}  // namespace

void AddPullCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "pull", "Write a model's files to a folder", kExamples, Add,
                        Run);
}

}  // namespace wdelta

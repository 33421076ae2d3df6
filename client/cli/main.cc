// `wdelta`, the command line. Only dispatches: see the `*_command.cc` files.
#include <cstdio>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/exit_codes.h"
#include "client/cli/session.h"
#include "client/cpp/freed_memory.h"
#include "client/cpp/rpc_status.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "Examples:\n"
    "  wdelta push ./qwen-base --name qwen --wait\n"
    "  wdelta push ./qwen-wiki --name qwen-wiki --parent qwen --wait\n"
    "  wdelta ls\n"
    "  wdelta log qwen\n"
    "  wdelta pull qwen-wiki ./copy\n"
    "Every command has --help with examples of its own.\n\n";

void AddAll(CLI::App& app, Session& session) {
  app.require_subcommand(1);
  app.fallthrough();  // global options may follow the command
  app.footer(std::string(kExamples) + kExitCodesHelp);
  session.connection.AddTo(app);
  app.set_version_flag("--version", absl::StrCat("wdelta ", WDELTA_VERSION),
                       "Print the version of this program and exit");
  app.add_option("--output", session.output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_flag_callback(
      "--json", [&session] { session.output = "json"; }, "The same as --output json");
  app.add_flag("--quiet", session.quiet, "No progress, no success lines");
  for (const auto add : {
           AddPushCommand,      AddPullCommand,    AddFetchCommand,  AddLsCommand,
           AddSearchCommand,    AddShowCommand,    AddLogCommand,    AddPathCommand,
           AddDiffCommand,      AddBlameCommand,   AddTagCommand,    AddMergeCommand,
           AddRmCommand,        AddExplainCommand, AddRepackCommand, AddGcCommand,
           AddRetentionCommand, AddScrubCommand,   AddJobsCommand,   AddInspectCommand,
           AddExportCommand,    AddImportCommand,  AddAdminCommand,  AddTokenCommand,
           AddVersionCommand,
       }) {
    add(app, session);
  }
}

// `; see `wdelta pull --help``, of the command that the command line got to.
std::string HelpHint(const CLI::App& app) {
  std::string command;
  for (const CLI::App* at = &app; at != nullptr;
       at = at->get_subcommands().empty() ? nullptr : at->get_subcommands().front()) {
    absl::StrAppend(&command, at->get_name(), " ");
  }
  return absl::StrCat("; see `", command, "--help`");
}

// What was not understood is named even where something else is missing too: it is why.
absl::Status UsageError(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  const bool names_it = unknown.empty() || dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
  if (names_it) return absl::InvalidArgumentError(absl::StrCat(error.what(), HelpHint(app)));
  const std::string text = absl::StrCat("`", unknown.front(), "`");
  const bool lacks_command = absl::StrContains(error.what(), "subcommand is required");
  if (absl::StartsWith(unknown.front(), "-")) {
    return absl::InvalidArgumentError(absl::StrCat("unknown option ", text, "; ", error.what()));
  }
  return absl::InvalidArgumentError(
      lacks_command ? absl::StrCat(text, " is no command here; --help lists them")
                    : absl::StrCat("unexpected argument ", text, "; ", error.what()));
}

int Main(int argc, char** argv) {
  Session session;
  CLI::App app("wdelta: a store for model weights, compressed against each other", "wdelta");
  AddAll(app, session);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    std::fprintf(stderr, "%s\n", ErrorLine("usage", UsageError(app, error)).c_str());
    return static_cast<int>(ExitCode::kUsage);
  }
  absl::Status status = session.action();
  // gRPC names addresses at best, and not where they come from.
  if (IsUnreachable(status) && ErrorReason(status).empty()) {
    status = Annotate(status, absl::StrCat("server ", session.connection.server));
  }
  if (!status.ok()) std::fprintf(stderr, "%s\n", ErrorLine(session.what, status).c_str());
  return static_cast<int>(ExitCodeOf(status));
}

}  // namespace
}  // namespace wdelta

int main(int argc, char** argv) {
  wdelta::KeepFreedMemory();
  return wdelta::Main(argc, argv);
}

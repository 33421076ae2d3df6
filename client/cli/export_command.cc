#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/progress_bar.h"
#include "client/cli/text.h"
#include "client/cpp/pull.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] = "  wdelta export qwen-wiki qwen-wiki.wdelta\n";

struct Arguments {
  std::string model;
  std::string file;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.model, "NAME, NAME@TAG, sha256:HEX or id:ID")->required();
  command.add_option("FILE", arguments.file, "The `.wdelta` file to write")->required();
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  absl::StatusOr<PullResult> result;
  {
    ProgressBar bar("export", session.quiet);
    result = ExportDelta(*client, arguments.model, arguments.file,
                         [&bar](const Progress& progress) { bar.Update(progress); });
  }
  WDELTA_RETURN_IF_ERROR(result.status());
  const v1::Model& model = result->model;
  if (session.is_json()) {
    session.PrintJson({{"model", ModelJson(model)},
                       {"file", arguments.file},
                       {"received_bytes", result->received_bytes}});
  }
  const std::string& parent = model.storage().parent();
  session.Say(absl::StrCat(
      arguments.file, "  ", HumanBytes(result->received_bytes), "  ",
      parent.empty() ? "needs no other model" : absl::StrCat("encoded against ", parent)));
  return absl::OkStatus();
}

}  // namespace

void AddExportCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "export", "Write a model's `.wdelta` file", kExamples, Add,
                        Run);
}

}  // namespace wdelta

#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/push_report.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta push ./qwen-base --name qwen\n"
    "  wdelta push ./qwen-wiki --name qwen-wiki --parent qwen --wait\n"
    "  wdelta push ./soup --name soup --parent a --parent b --relation merge --label team=nlp\n";

struct Arguments {
  std::string folder;
  UploadArguments upload;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("DIR", arguments.folder, "Folder with safetensors shards and side files")
      ->required();
  arguments.upload.AddTo(command);
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(PushOptions options, arguments.upload.ToOptions());
  return PushAndReport(session, std::move(options),
                       [&](Client& client, const PushOptions& final_options) {
                         return PushCheckpoint(client, arguments.folder, final_options);
                       });
}

}  // namespace

void AddPushCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "push", "Upload a checkpoint folder as a model", kExamples,
                        Add, Run);
}

}  // namespace wdelta

#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/push_report.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta import qwen-wiki.wdelta --name qwen-wiki --parent qwen --wait\n"
    "A version 1 file, written by deltatensors, needs the model that it was computed against as\n"
    "--parent; its parent_hash is checked. The model is then one file of float32 tensors, exactly\n"
    "those that deltatensors' load_delta gives. Files of a chain are imported oldest first:\n"
    "  wdelta import step1.wdelta --name step1 --parent qwen --wait\n"
    "  wdelta import step2.wdelta --name step2 --parent step1 --wait\n";

struct Arguments {
  std::string file;
  UploadArguments upload;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("FILE", arguments.file, "A `.wdelta` file")->required();
  arguments.upload.AddTo(command);
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(PushOptions options, arguments.upload.ToOptions());
  return PushAndReport(session, std::move(options),
                       [&](Client& client, const PushOptions& final_options) {
                         return PushDelta(client, arguments.file, final_options);
                       });
}

}  // namespace

void AddImportCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "import",
                        "Upload a `.wdelta` file, ours or one of deltatensors (version 1); the "
                        "store must hold the model that it is encoded against",
                        kExamples, Add, Run);
}

}  // namespace wdelta

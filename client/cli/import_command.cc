#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/push_report.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta import qwen-wiki.wdelta --name qwen-wiki --parent qwen --wait\n";

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
                        "Upload a `.wdelta` file; the store must hold the model that it is "
                        "encoded against",
                        kExamples, Add, Run);
}

}  // namespace wdelta

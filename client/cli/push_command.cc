#include <string>
#include <vector>

#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/fidelity_arguments.h"
#include "client/cli/push_report.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta push ./qwen-base --name qwen\n"
    "  wdelta push ./qwen-wiki --name qwen-wiki --parent qwen --wait\n"
    "  wdelta push ./run7/step-900 --name run7 --exclude 'optimizer*' --exclude '*.pt' --wait\n"
    "  wdelta push ./soup --name soup --parent a --parent b --relation merge --label team=nlp\n"
    "  wdelta push ./small --name small --parent qwen:distillation,temperature=2\n"
    "  wdelta push ./wiki --name wiki --parent qwen --fidelity near-lossless --relative-error "
    "0.05\n"
    "  wdelta push ./wiki --name wiki --parent qwen --fidelity near-lossless --bits-per-weight 3\n"
    "  wdelta push ./wiki --name wiki --parent qwen --fidelity auto --relative-error 0.1 \\\n"
    "      --tensor 'lm_head.*=lossless' --tensor '*.mlp.*=sparse:0.9' --effort max\n"
    "Lossy strategies change float tensors of two dimensions and more that the storage parent\n"
    "has, too; `wdelta show` tells the error that was measured.\n";

struct Arguments {
  std::string folder;
  UploadArguments upload;
  FidelityArguments fidelity;
  std::string reuse = "auto";
  std::vector<std::string> exclude;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("DIR", arguments.folder, "Folder with safetensors shards and side files")
      ->required();
  command
      .add_option("--exclude", arguments.exclude,
                  "Shell pattern of paths within DIR, files or folders, to leave out; * matches / "
                  "too; may be repeated. Names that begin with a dot never go along")
      ->allow_extra_args(false);
  arguments.upload.AddTo(command);
  arguments.fidelity.AddTo(command);
  command
      .add_option("--reuse", arguments.reuse,
                  "Ask first which tensors the daemon has and send the others only: always, never, "
                  "or auto, which asks for a few and for all if it has one")
      ->check(CLI::IsMember({"auto", "always", "never"}));
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(PushOptions options, arguments.upload.ToOptions());
  WDELTA_ASSIGN_OR_RETURN(options.fidelity, arguments.fidelity.ToPolicy());
  options.exclude = arguments.exclude;
  if (arguments.reuse == "always") options.reuse = Reuse::kAlways;
  if (arguments.reuse == "never") options.reuse = Reuse::kNever;
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

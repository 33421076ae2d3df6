#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/commands.h"
#include "client/cli/progress_bar.h"
#include "client/cli/text.h"
#include "client/cpp/export_v1.h"
#include "client/cpp/pull.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta export qwen-wiki qwen-wiki.wdelta\n"
    "  wdelta export qwen-wiki for-deltatensors.wdelta --format v1 --strategy int4\n"
    "Version 2 is the store's own file, lossless. Version 1, for deltatensors, is LOSSY with "
    "every\n"
    "strategy: int4 keeps the largest 1% of the differences as float16 and 4 bits of the others,\n"
    "sparse the largest 10%, quantized a sign for each and a scale for each row. It is computed\n"
    "against the model's parent, which deltatensors must be given to load it. For its chains,\n"
    "import each file and export the next model with --parent the imported one.\n";

struct Arguments {
  std::string model;
  std::string file;
  std::string format = "v2";
  std::string strategy;
  ExportV1Options v1;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.model, "NAME, NAME@TAG, sha256:HEX or id:ID")->required();
  command.add_option("FILE", arguments.file, "The `.wdelta` file to write")->required();
  command
      .add_option("--format", arguments.format,
                  "v2: as stored, lossless; v1: for deltatensors, LOSSY")
      ->check(CLI::IsMember({"v1", "v2"}))
      ->capture_default_str();
  command.add_option("--strategy", arguments.strategy, "Of v1, all lossy; default int4")
      ->check(CLI::IsMember({"int4", "sparse", "quantized"}));
  command.add_option("--parent", arguments.v1.parent,
                     "Of v1: the model to compute against; default the model's only parent");
  command
      .add_option("--sparsity", arguments.v1.writer.sparsity,
                  "Of v1 sparse: the part of the differences that is dropped")
      ->capture_default_str();
  command
      .add_option("--outlier-fraction", arguments.v1.writer.outlier_fraction,
                  "Of v1 int4: the part of the differences that is kept as float16")
      ->capture_default_str();
}

absl::Status RunV1(Session& session, const Arguments& arguments) {
  ExportV1Options options = arguments.v1;
  if (!arguments.strategy.empty()) {
    WDELTA_ASSIGN_OR_RETURN(options.writer.strategy, ParseV1Strategy(arguments.strategy));
  }
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  absl::StatusOr<ExportV1Result> result;
  {
    ProgressBar bar("export", session.quiet);
    options.progress = [&bar](const Progress& progress) { bar.Update(progress); };
    result = ExportV1(*client, arguments.model, arguments.file, options);
  }
  WDELTA_RETURN_IF_ERROR(result.status());
  const std::string strategy(V1StrategyName(options.writer.strategy));
  if (session.is_json()) {
    session.PrintJson({{"model", ModelJson(result->model)},
                       {"parent", ModelJson(result->parent)},
                       {"file", arguments.file},
                       {"format", "v1"},
                       {"strategy", strategy},
                       {"lossy", true},
                       {"relative_error", result->written.relative_error},
                       {"parent_hash", result->parent_hash.ToHex()},
                       {"file_bytes", result->written.file_bytes}});
  }
  session.Say(absl::StrCat(arguments.file, "  ", HumanBytes(result->written.file_bytes),
                           "  version 1, ", strategy, ", against ", result->parent.name(),
                           "  LOSSY: relative error of the delta ",
                           absl::StrFormat("%.4f", result->written.relative_error)));
  return absl::OkStatus();
}

absl::Status RunV2(Session& session, const Arguments& arguments) {
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

absl::Status Run(Session& session, const Arguments& arguments) {
  if (arguments.format == "v1") return RunV1(session, arguments);
  if (!arguments.strategy.empty() || !arguments.v1.parent.empty()) {
    return absl::InvalidArgumentError(
        "--strategy and --parent: expected with --format v1, found --format v2");
  }
  return RunV2(session, arguments);
}

}  // namespace

void AddExportCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "export",
                        "Write a model's `.wdelta` file, as stored or (lossy) for deltatensors",
                        kExamples, Add, Run);
}

}  // namespace wdelta

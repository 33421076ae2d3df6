#include <optional>

#include "absl/strings/str_cat.h"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/json_output.h"
#include "client/cli/progress_bar.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta merge wiki code --name soup --weights 0.7,0.3 --wait\n"
    "  wdelta merge wiki code --name both --method task-arithmetic --base qwen --lambda 0.8\n"
    "  wdelta merge wiki code math --name all --method ties --base qwen --density 0.2 --wait\n"
    "Float tensors are merged weight by weight and rounded once; all else is the base's, or for\n"
    "linear the first model's. All models need the same tensors, dtypes and shapes.\n";

struct Arguments {
  std::vector<std::string> models;
  std::string name;
  std::string method = "linear";
  std::vector<double> weights;
  std::string base;
  std::optional<double> density;
  std::optional<double> lambda;
  std::vector<std::string> labels;
  std::vector<std::string> metadata;
  bool new_version = false;
  bool wait = false;
  std::string request_id;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("MODELS", arguments.models, "NAME, NAME@TAG, sha256:HEX or id:ID of each")
      ->required();
  command.add_option("--name", arguments.name, "Name of the model, `name` or `namespace/name`")
      ->required();
  command
      .add_option("--method", arguments.method,
                  "linear (weighted mean), task-arithmetic (weighted sum of the deltas to the\n"
                  "base) or ties (deltas trimmed, the stronger sign elected, their mean)")
      ->check(CLI::IsMember({"linear", "task-arithmetic", "ties"}))
      ->capture_default_str();
  command.add_option("--weights", arguments.weights, "One for each model, as 0.7,0.3; default 1")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--base", arguments.base, "What the models were made from; not for linear");
  command.add_option("--density", arguments.density,
                     "Of ties: the share of each model's deltas that are kept; default 0.2");
  command.add_option("--lambda", arguments.lambda,
                     "What the merged delta is multiplied by; not for linear; default 1");
  command.add_option("--label", arguments.labels, "key=value to filter by; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--metadata", arguments.metadata, "key=value to keep; may be repeated")
      ->allow_extra_args(false);
  command.add_flag("--new-version", arguments.new_version, "Add a version when the name exists");
  command.add_option("--request-id", arguments.request_id,
                     "Any text of your own; the same again returns the model of the first request");
  command.add_flag("--wait", arguments.wait, "Wait until the model is computed and stored");
}

absl::Status SetMethod(const Arguments& arguments, v1::MergeModelsRequest& request) {
  if (arguments.density.has_value() && arguments.method != "ties") {
    return absl::InvalidArgumentError("--density: expected with --method ties only");
  }
  if (arguments.method == "linear") {
    if (arguments.lambda.has_value()) {
      return absl::InvalidArgumentError("--lambda: expected with another --method than linear");
    }
    request.mutable_linear();
  } else if (arguments.method == "ties") {
    v1::Ties& ties = *request.mutable_ties();
    if (arguments.density.has_value()) ties.set_density(*arguments.density);
    if (arguments.lambda.has_value()) ties.set_lambda_scale(*arguments.lambda);
  } else {
    v1::TaskArithmetic& arithmetic = *request.mutable_task_arithmetic();
    if (arguments.lambda.has_value()) arithmetic.set_lambda_scale(*arguments.lambda);
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::MergeModelsRequest> RequestOf(const Arguments& arguments) {
  v1::MergeModelsRequest request;
  WDELTA_RETURN_IF_ERROR(SetMethod(arguments, request));
  if (!arguments.weights.empty() && arguments.weights.size() != arguments.models.size()) {
    return absl::InvalidArgumentError(absl::StrCat("--weights: expected ", arguments.models.size(),
                                                   ", one for each model, found ",
                                                   arguments.weights.size()));
  }
  for (size_t i = 0; i < arguments.models.size(); ++i) {
    v1::MergeModelsRequest::Source& source = *request.add_sources();
    source.set_model(arguments.models[i]);
    if (!arguments.weights.empty()) source.set_weight(arguments.weights[i]);
  }
  request.set_name(arguments.name);
  request.set_base(arguments.base);
  WDELTA_ASSIGN_OR_RETURN(const auto labels, ParseKeyValues(arguments.labels));
  request.mutable_labels()->insert(labels.begin(), labels.end());
  WDELTA_ASSIGN_OR_RETURN(const auto metadata, ParseKeyValues(arguments.metadata));
  request.mutable_metadata()->insert(metadata.begin(), metadata.end());
  request.set_new_version(arguments.new_version);
  request.set_request_id(arguments.request_id);
  return request;
}

absl::Status Wait(Session& session, Client& client, const std::string& job) {
  ProgressBar bar("merge", session.quiet);
  WDELTA_ASSIGN_OR_RETURN(const v1::Job ended, client.WatchJob(job, [&](const v1::Job& state) {
    bar.Update({.done_bytes = state.done_bytes(), .total_bytes = state.total_bytes()});
  }));
  return JobResult(ended);
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(const v1::MergeModelsRequest request, RequestOf(arguments));
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  WDELTA_ASSIGN_OR_RETURN(v1::MergeModelsResponse merge, client->MergeModels(request));
  v1::Model& model = *merge.mutable_model();
  if (arguments.wait) {
    WDELTA_RETURN_IF_ERROR(Wait(session, *client, merge.job()));
    WDELTA_ASSIGN_OR_RETURN(model, client->GetModel(absl::StrCat("id:", model.id())));
  }
  if (session.is_json()) {
    session.PrintJson({{"model", ModelJson(model)}, {"job", merge.job()}});
    return absl::OkStatus();
  }
  std::string line = absl::StrCat(model.name(), "  id:", model.id(), "  ", StateWord(model.state()),
                                  "  ", HumanBytes(model.raw_bytes()));
  if (model.stored_bytes() > 0) {
    absl::StrAppend(&line, " stored as ", HumanBytes(model.stored_bytes()), " (",
                    HumanRatio(model.raw_bytes(), model.stored_bytes()), ")");
  }
  if (!arguments.wait) absl::StrAppend(&line, "  job ", merge.job());
  session.Say(line);
  return absl::OkStatus();
}

}  // namespace

void AddMergeCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "merge", "Compute a model from stored ones, on the server",
                        kExamples, Add, Run);
}

}  // namespace wdelta

#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/model_table.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta ls\n"
    "  wdelta ls --label team=nlp --name-pattern 'qwen-*'\n"
    "`wdelta search` has filters by state, time and size too.\n";

struct Arguments {
  std::vector<std::string> labels;
  std::string name_pattern;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("--label", arguments.labels, "Only with this key=value; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--name-pattern", arguments.name_pattern, "Shell pattern with * and ?");
}

absl::Status Run(Session& session, const Arguments& arguments) {
  v1::ListModelsRequest filter;
  WDELTA_ASSIGN_OR_RETURN(const auto labels, ParseKeyValues(arguments.labels));
  filter.mutable_labels()->insert(labels.begin(), labels.end());
  filter.set_name_pattern(arguments.name_pattern);
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::Model> models, client->ListModels(filter).All());
  PrintModels(session, models);
  return absl::OkStatus();
}

}  // namespace

void AddLsCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "ls", "List models, oldest first", kExamples, Add, Run);
}

}  // namespace wdelta

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/arguments.h"
#include "client/cli/commands.h"
#include "client/cli/fidelity_text.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta ls\n"
    "  wdelta ls --label team=nlp --name-pattern 'qwen-*'\n";

struct Arguments {
  std::vector<std::string> labels;
  std::string name_pattern;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("--label", arguments.labels, "Only with this key=value; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--name-pattern", arguments.name_pattern, "Shell pattern with * and ?");
}

void AddRow(const v1::Model& model, Table& table) {
  const std::string parents =
      absl::StrJoin(model.parents(), ",", [](std::string* out, const v1::Parent& parent) {
        absl::StrAppend(out, parent.name().empty() ? parent.model() : parent.name());
      });
  table.AddRow({model.name(), ShortId(model.id()), StateWord(model.state()),
                parents.empty() ? "-" : parents, HumanBytes(model.raw_bytes()),
                model.stored_bytes() == 0 ? "-" : HumanBytes(model.stored_bytes()),
                HumanRatio(model.raw_bytes(), model.stored_bytes()), FidelityWord(model),
                HumanTime(model.create_time(), absl::LocalTimeZone())});
}

absl::Status Run(Session& session, const Arguments& arguments) {
  ModelFilter filter;
  WDELTA_ASSIGN_OR_RETURN(filter.labels, ParseKeyValues(arguments.labels));
  filter.name_pattern = arguments.name_pattern;
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::Model> models, client->ListModels(filter).All());
  if (session.is_json()) {
    Json json = Json::array();
    for (const v1::Model& model : models) json.push_back(ModelJson(model));
    session.PrintJson(json);
    return absl::OkStatus();
  }
  Table table({{"NAME"},
               {"ID"},
               {"STATE"},
               {"PARENTS"},
               {"RAW", Align::kRight},
               {"STORED", Align::kRight},
               {"RATIO", Align::kRight},
               {"FIDELITY"},
               {"CREATED"}});
  for (const v1::Model& model : models) AddRow(model, table);
  session.Print(table.Render());
  return absl::OkStatus();
}

}  // namespace

void AddLsCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "ls", "List models, oldest first", kExamples, Add, Run);
}

}  // namespace wdelta

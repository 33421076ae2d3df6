#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/relation_words.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta path qwen-wiki-3 qwen\n"
    "  wdelta path qwen-wiki qwen-code --edges any\n"
    "Each line is one model; HOP tells whether it is a parent or a child of the one above, and\n"
    "RELATION how the child was made. Without --edges the path leads only up or only down where\n"
    "one model descends from the other, and both ways otherwise.\n";

struct Arguments {
  std::string from;
  std::string to;
  std::string edges;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("FROM", arguments.from, "NAME, NAME@TAG, sha256:HEX or id:ID")->required();
  command.add_option("TO", arguments.to, "The other end")->required();
  command.add_option("--edges", arguments.edges, "ancestry (only up or only down) or any")
      ->check(CLI::IsMember({"ancestry", "any"}));
}

std::string HopWord(v1::PathStep::Hop hop) {
  switch (hop) {
    case v1::PathStep::TO_PARENT:
      return "parent";
    case v1::PathStep::TO_CHILD:
      return "child";
    default:
      return "-";
  }
}

absl::Status Run(Session& session, const Arguments& arguments) {
  v1::FindPathRequest request;
  request.set_from(arguments.from);
  request.set_to(arguments.to);
  if (arguments.edges == "ancestry") request.set_edges(v1::FindPathRequest::ANCESTRY);
  if (arguments.edges == "any") request.set_edges(v1::FindPathRequest::ANY);
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::PathStep> steps, client->FindPath(request).All());
  if (session.is_json()) {
    Json json = Json::array();
    for (const v1::PathStep& step : steps) json.push_back(PathStepJson(step));
    session.PrintJson(json);
    return absl::OkStatus();
  }
  Table table({{"HOP"}, {"RELATION"}, {"NAME"}, {"ID"}, {"STATE"}});
  for (const v1::PathStep& step : steps) {
    const v1::Model& model = step.node().model();
    table.AddRow({HopWord(step.hop()), step.has_edge() ? RelationWord(step.edge().relation()) : "-",
                  model.name(), ShortId(model.id()),
                  step.node().deleted() ? "deleted" : StateWord(model.state())});
  }
  session.Print(table.Render());
  return absl::OkStatus();
}

}  // namespace

void AddPathCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "path", "Show how two models are related", kExamples, Add,
                        Run);
}

}  // namespace wdelta

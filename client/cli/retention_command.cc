#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kSetExamples[] =
    "  wdelta retention set runs --names 'run-*' --keep-last 3 --keep-every 10\n"
    "  wdelta retention set sweeps --run-label experiment --keep-last 1\n";
constexpr char kListExamples[] = "  wdelta retention list\n";
constexpr char kRemoveExamples[] = "  wdelta retention rm runs\n";

struct SetArguments {
  std::string name;
  std::string name_pattern;
  std::string run_label;
  uint64_t keep_last = 0;
  uint64_t keep_every = 0;
  bool delete_tagged = false;
};

void AddSet(CLI::App& command, SetArguments& arguments) {
  command.add_option("RULE", arguments.name, "Its name; a rule of that name is replaced")
      ->required();
  command.add_option("--names", arguments.name_pattern,
                     "Names of models that it covers, with * and ?; all by default");
  command.add_option("--run-label", arguments.run_label,
                     "A run is the models with one value of this label, not those of one name");
  command.add_option("--keep-last", arguments.keep_last, "How many of the newest stay")->required();
  command.add_option("--keep-every", arguments.keep_every,
                     "Every Kth stays, counted from the first of the run");
  command.add_flag("--delete-tagged", arguments.delete_tagged,
                   "Models that a tag points at may go, too");
}

Json RuleJson(const v1::RetentionRule& rule) {
  return {{"name", rule.name()},
          {"name_pattern", rule.name_pattern()},
          {"run_label", rule.run_label()},
          {"keep_last", rule.keep_last()},
          {"keep_every", rule.keep_every()},
          {"delete_tagged", rule.delete_tagged()}};
}

absl::Status RunSet(Session& session, const SetArguments& arguments) {
  v1::RetentionRule rule;
  rule.set_name(arguments.name);
  rule.set_name_pattern(arguments.name_pattern);
  rule.set_run_label(arguments.run_label);
  rule.set_keep_last(arguments.keep_last);
  rule.set_keep_every(arguments.keep_every);
  rule.set_delete_tagged(arguments.delete_tagged);
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  WDELTA_ASSIGN_OR_RETURN(const v1::RetentionRule made, client->SetRetentionRule(rule));
  if (session.is_json()) session.PrintJson(RuleJson(made));
  session.Say(absl::StrCat("rule ", made.name(), " is applied by gc; see wdelta gc --dry-run"));
  return absl::OkStatus();
}

struct ListArguments {};

void AddList(CLI::App&, ListArguments&) {}

absl::Status RunList(Session& session, const ListArguments&) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::RetentionRule> rules,
                          client->ListRetentionRules().All());
  Json json = Json::array();
  Table table({{"RULE"},
               {"NAMES"},
               {"RUN"},
               {"LAST", Align::kRight},
               {"EVERY", Align::kRight},
               {"TAGGED"},
               {"UPDATED"}});
  for (const v1::RetentionRule& rule : rules) {
    json.push_back(RuleJson(rule));
    table.AddRow({rule.name(), rule.name_pattern().empty() ? "*" : rule.name_pattern(),
                  rule.run_label().empty() ? "name" : absl::StrCat("label ", rule.run_label()),
                  absl::StrCat(rule.keep_last()),
                  rule.keep_every() == 0 ? "-" : absl::StrCat(rule.keep_every()),
                  rule.delete_tagged() ? "may go" : "stay",
                  HumanTime(rule.update_time(), absl::LocalTimeZone())});
  }
  if (session.is_json()) {
    session.PrintJson(json);
  } else {
    session.Print(table.Render());
  }
  return absl::OkStatus();
}

struct RemoveArguments {
  std::string name;
};

void AddRemove(CLI::App& command, RemoveArguments& arguments) {
  command.add_option("RULE", arguments.name, "Its name")->required();
}

absl::Status RunRemove(Session& session, const RemoveArguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  WDELTA_RETURN_IF_ERROR(client->DeleteRetentionRule(arguments.name));
  if (session.is_json()) session.PrintJson({{"deleted", arguments.name}});
  session.Say(absl::StrCat("deleted rule ", arguments.name));
  return absl::OkStatus();
}

}  // namespace

void AddRetentionCommand(CLI::App& app, Session& session) {
  CLI::App* retention =
      app.add_subcommand("retention", "Rules for which checkpoints of a run gc keeps");
  retention->require_subcommand(1);
  retention->fallthrough();
  retention->footer(absl::StrCat("Examples:\n", kSetExamples, kListExamples, kRemoveExamples));
  AddCommand<SetArguments>(*retention, session, "set", "Make or replace a rule", kSetExamples,
                           AddSet, RunSet);
  AddCommand<ListArguments>(*retention, session, "list", "List the rules", kListExamples, AddList,
                            RunList);
  AddCommand<RemoveArguments>(*retention, session, "rm", "Delete a rule", kRemoveExamples,
                              AddRemove, RunRemove);
}

}  // namespace wdelta

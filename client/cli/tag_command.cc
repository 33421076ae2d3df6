#include "absl/strings/str_cat.h"
#include "client/cli/arguments.h"
#include "client/cli/author.h"
#include "client/cli/commands.h"
#include "client/cli/table.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta tag\n"
    "  wdelta tag qwen-wiki@prod qwen-wiki\n"
    "  wdelta tag qwen-wiki@prod qwen-wiki --author ci/release-7\n"
    "  wdelta tag --delete qwen-wiki@prod\n"
    "  wdelta tag --history qwen-wiki@prod\n";

struct Arguments {
  std::string tag;
  std::string model;
  std::string deleted;
  std::string history_of;
  std::string author;
};

void Add(CLI::App& command, Arguments& arguments) {
  CLI::Option* tag = command.add_option("NAME@TAG", arguments.tag, "The tag to set or move");
  CLI::Option* model = command.add_option("MODEL", arguments.model, "What it points at");
  tag->needs(model);
  CLI::Option* deleted =
      command.add_option("--delete", arguments.deleted, "Remove NAME@TAG")->excludes(tag);
  command
      .add_option("--history", arguments.history_of,
                  "What NAME@TAG pointed at, the latest change first")
      ->excludes(tag)
      ->excludes(deleted);
  AddAuthorOption(command, arguments.author);
}

absl::Status List(Session& session, Client& client) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::Tag> tags, client.ListTags().All());
  Json json = Json::array();
  Table table({{"TAG"}, {"MODEL"}, {"UPDATED"}});
  for (const v1::Tag& tag : tags) {
    json.push_back(TagJson(tag));
    table.AddRow({absl::StrCat(tag.name(), "@", tag.tag()), tag.model(),
                  HumanTimeWithSeconds(tag.update_time(), absl::LocalTimeZone())});
  }
  if (session.is_json()) {
    session.PrintJson(json);
  } else {
    session.Print(table.Render());
  }
  return absl::OkStatus();
}

// `NAME id`, or `-`.
std::string PointedAt(const std::string& name, const std::string& model) {
  return model.empty() ? "-" : absl::StrCat(name, " ", ShortId(model));
}

absl::Status PrintHistory(Session& session, Client& client, const std::string& text) {
  WDELTA_ASSIGN_OR_RETURN(const auto reference, ParseTagReference(text));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::TagChange> changes,
                          client.ListTagHistory(reference.first, reference.second).All());
  Json json = Json::array();
  Table table({{"TIME"}, {"FROM"}, {"TO"}, {"REASON"}, {"BY"}});
  for (const v1::TagChange& change : changes) {
    json.push_back(TagChangeJson(change));
    table.AddRow({HumanTimeWithSeconds(change.change_time(), absl::LocalTimeZone()),
                  PointedAt(change.from_name(), change.from_model()),
                  PointedAt(change.to_name(), change.to_model()), ReasonWord(change.reason()),
                  change.author().empty() ? "-" : change.author()});
  }
  if (session.is_json()) {
    session.PrintJson(json);
  } else {
    session.Print(table.Render());
  }
  return absl::OkStatus();
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  if (!arguments.deleted.empty()) {
    WDELTA_ASSIGN_OR_RETURN(const auto reference, ParseTagReference(arguments.deleted));
    WDELTA_RETURN_IF_ERROR(client->DeleteTag(reference.first, reference.second, arguments.author));
    if (session.is_json()) session.PrintJson({{"deleted", arguments.deleted}});
    session.Say(absl::StrCat("deleted ", arguments.deleted));
    return absl::OkStatus();
  }
  if (!arguments.history_of.empty()) return PrintHistory(session, *client, arguments.history_of);
  if (arguments.tag.empty()) return List(session, *client);
  WDELTA_ASSIGN_OR_RETURN(const auto reference, ParseTagReference(arguments.tag));
  WDELTA_ASSIGN_OR_RETURN(const v1::Tag tag, client->SetTag(reference.first, reference.second,
                                                            arguments.model, arguments.author));
  if (session.is_json()) session.PrintJson(TagJson(tag));
  session.Say(absl::StrCat(arguments.tag, " -> ", tag.model()));
  return absl::OkStatus();
}

}  // namespace

void AddTagCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "tag", "List, set or delete tags, show their history",
                        kExamples, Add, Run);
}

}  // namespace wdelta

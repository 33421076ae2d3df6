#include "absl/strings/str_cat.h"
#include "client/cli/author.h"
#include "client/cli/commands.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta rm qwen-wiki\n"
    "  wdelta rm id:01jd7t0000000000000000000a qwen-old\n";

struct Arguments {
  std::vector<std::string> models;
  std::string author;
};

void Add(CLI::App& command, Arguments& arguments) {
  command.add_option("MODEL", arguments.models, "NAME, NAME@TAG, sha256:HEX or id:ID")->required();
  AddAuthorOption(command, arguments.author);
}

absl::Status Run(Session& session, const Arguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  Json deleted = Json::array();
  absl::Status status;
  for (const std::string& model : arguments.models) {
    status = Annotate(client->DeleteModel(model, arguments.author), model);
    if (!status.ok()) break;
    deleted.push_back(model);
    session.Say(absl::StrCat("deleted ", model));
  }
  if (session.is_json()) session.PrintJson({{"deleted", deleted}});
  return status;
}

}  // namespace

void AddRmCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "rm", "Delete models; stops at the first error", kExamples,
                        Add, Run);
}

}  // namespace wdelta

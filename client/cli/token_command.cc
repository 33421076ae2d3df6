#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/new_token.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] =
    "  wdelta token ci --scope read --scope write --names run-\n"
    "The first line is the token, for WDELTA_TOKEN or HF_TOKEN of who is to have it; it is shown\n"
    "once and kept nowhere. The rest goes into the file of wdeltad --tokens_file. No daemon is\n"
    "asked. A scope includes no other: pushing and waiting takes read and write.\n"
    "  wdelta token ops --scope admin --output json\n";

void Add(CLI::App& command, TokenEntryArguments& arguments) {
  command.add_option("NAME", arguments.name, "Who it is for, as the log tells it")->required();
  command.add_option("--scope", arguments.scopes, "read, write or admin; may be repeated")
      ->required()
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"read", "write", "admin"}));
  command
      .add_option("--names", arguments.names,
                  "Only for models whose names begin with this; may be repeated")
      ->allow_extra_args(false);
}

absl::Status Run(Session& session, const TokenEntryArguments& arguments) {
  WDELTA_ASSIGN_OR_RETURN(const std::string token, NewToken());
  WDELTA_ASSIGN_OR_RETURN(const std::string entry, TokenEntryYaml(arguments, token));
  if (session.is_json()) {
    session.PrintJson({{"token", token}, {"entry", entry}});
  } else {
    session.Print(absl::StrCat(token, "\n\n", entry));
  }
  return absl::OkStatus();
}

}  // namespace

void AddTokenCommand(CLI::App& app, Session& session) {
  AddCommand<TokenEntryArguments>(app, session, "token",
                                  "Make a token, and the entry by which a daemon knows it",
                                  kExamples, Add, Run);
}

}  // namespace wdelta

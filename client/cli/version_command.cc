#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kExamples[] = "  wdelta version --output json\n";

struct Arguments {};

void Add(CLI::App&, Arguments&) {}

absl::Status Run(Session& session, const Arguments&) {
  WDELTA_ASSIGN_OR_RETURN(Client * client, session.Connect());
  const absl::StatusOr<v1::ServerInfo> info = client->GetServerInfo();
  if (session.is_json()) {
    session.PrintJson({{"client", {{"version", WDELTA_VERSION}}},
                       {"server", info.ok() ? ServerInfoJson(*info) : Json(nullptr)}});
    return info.status();
  }
  session.Print(absl::StrCat("client  ", WDELTA_VERSION, "\n"));
  WDELTA_RETURN_IF_ERROR(info.status());
  session.Print(absl::StrCat(
      "server  ", Printable(info->version()), "  ", session.connection.server, "\n",
      info->model_count(), " models, ", HumanBytes(info->raw_bytes()), " stored as ",
      HumanBytes(info->stored_bytes()), " (", HumanRatio(info->raw_bytes(), info->stored_bytes()),
      ")\n.wdelta version ", info->wdelta_version(), "; ",
      Printable(absl::StrJoin(info->capabilities(), ", ")), "\n"));
  if (info->has_disk()) {
    session.Print(absl::StrCat(
        "disk: ", HumanBytes(info->disk().free_bytes()), " free",
        info->disk().is_full()
            ? absl::StrCat(", less than the ", HumanBytes(info->disk().min_free_bytes()),
                           " that are kept free: uploads and jobs wait")
            : "",
        "\n"));
  }
  return absl::OkStatus();
}

}  // namespace

void AddVersionCommand(CLI::App& app, Session& session) {
  AddCommand<Arguments>(app, session, "version", "Show the versions of client and server",
                        kExamples, Add, Run);
}

}  // namespace wdelta

#include "client/cli/session.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "client/cli/text.h"
#include "storage/base/status_macros.h"

namespace wdelta {

absl::StatusOr<Client*> Session::Connect(const Interrupt& interrupt) {
  if (client_ == nullptr) {
    WDELTA_ASSIGN_OR_RETURN(const ClientOptions options,
                            connection.ToOptions(ProcessEnvironment()));
    const std::string warning = PlainTextWarning(connection.server, options);
    if (!warning.empty()) std::fprintf(stderr, "%s\n", Printable(warning).c_str());
    WDELTA_ASSIGN_OR_RETURN(client_, Client::Create(connection.server, options));
    client_->AwaitConnection(connection.wait_for_server, interrupt);
  }
  return client_.get();
}

void Session::Print(absl::string_view text) const {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void Session::PrintJson(const Json& json) const {
  Print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

void Session::Say(absl::string_view line) const {
  if (!is_json() && !quiet) Print(absl::StrCat(Printable(line), "\n"));
}

}  // namespace wdelta

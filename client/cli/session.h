// One run of `wdelta`: the global options, the connection, and where output goes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cli/connection_arguments.h"
#include "client/cli/json_output.h"
#include "client/cpp/client.h"
#include "client/cpp/interrupt.h"

namespace wdelta {

// Lives in main for the whole run. One thread at a time.
struct Session {
  ConnectionArguments connection;
  std::string output = "text";
  bool quiet = false;

  // Set by the command that the command line names.
  std::string what;
  std::function<absl::Status()> action;

  bool is_json() const { return output == "json"; }
  // Connects at the first call, and warns then of a token in plain text. Waits for the server as
  // the options say, unless interrupted; without a server the first call of the client fails.
  absl::StatusOr<Client*> Connect(const Interrupt& interrupt = Interrupt());
  // On stdout.
  void Print(absl::string_view text) const;
  void PrintJson(const Json& json) const;
  // A line for people on stdout; nothing when JSON or quiet.
  void Say(absl::string_view line) const;

 private:
  std::unique_ptr<Client> client_;
};

// A subcommand whose `Arguments`, a default-constructible struct, are filled by
// `add` and given to `run`.
template <typename Arguments>
void AddCommand(CLI::App& app, Session& session, const std::string& name,
                const std::string& description, const std::string& examples,
                void (*add)(CLI::App&, Arguments&),
                absl::Status (*run)(Session&, const Arguments&)) {
  CLI::App* command = app.add_subcommand(name, description);
  command->footer("Examples:\n" + examples);
  const auto arguments = std::make_shared<Arguments>();
  add(*command, *arguments);
  // Of a command within a command, both names.
  const std::string what = app.get_parent() == nullptr ? name : app.get_name() + " " + name;
  command->callback([&session, what, arguments, run] {
    session.what = what;
    session.action = [&session, arguments, run] { return run(session, *arguments); };
  });
}

}  // namespace wdelta

// Where the server is, and what proves who calls.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/client.h"

namespace wdelta {

// Of all commands.
struct ConnectionArguments {
  // The value of an environment variable; nullopt: not set.
  using Environment = std::function<std::optional<std::string>(const std::string& name)>;

  std::string server = "localhost:50051";
  std::string token;
  std::string token_file;
  std::string tls_ca;
  std::string tls_certificate;
  std::string tls_key;
  absl::Duration wait_for_server;  // until it can be connected to; zero: not at all

  void AddTo(CLI::App& app);
  // INVALID_ARGUMENT names the option.
  absl::Status SetWait(const std::string& text);

  // Reads the files. Without --token and --token-file the token is that of WDELTA_TOKEN, if
  // any. INVALID_ARGUMENT, NOT_FOUND, and for a file that is there but cannot be read
  // PERMISSION_DENIED (`LOCAL_FILE`), naming option and file; never the token.
  absl::StatusOr<ClientOptions> ToOptions(const Environment& environment) const;
};

// What is to be said on stderr before the first call; empty: nothing. A token that goes to
// another machine in plain text can be read on its way.
std::string PlainTextWarning(const std::string& server, const ClientOptions& options);

// Of the process.
ConnectionArguments::Environment ProcessEnvironment();

}  // namespace wdelta

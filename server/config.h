// The daemon's configuration: one table of options, four sources.
//
// A flag wins over the environment (`WDELTA_<NAME>`), that over the YAML file given
// with --config, that over the default.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace wdelta {

enum class LogFormat { kText, kJson };

struct Config {
  std::string data_dir;
  std::vector<std::string> listen;
  std::string http_listen;        // empty: no HTTP
  std::string operations_listen;  // empty: no operations port
  std::string address_file;       // empty: none
  int workers = 0;
  int codec_threads = 0;
  uint64_t max_open_uploads = 0;
  int max_fetches = 0;
  int http_max_connections = 0;
  uint64_t memory_limit_bytes = 0;
  uint32_t max_chain_depth = 0;
  double max_fetch_cost = 0;
  absl::Duration gc_interval;  // zero: never by itself
  absl::Duration upload_ttl;   // zero: for ever
  uint64_t min_free_bytes = 0;
  bool accept_lost_writes = false;
  std::string tokens_file;      // empty: no token is asked for
  std::string tls_certificate;  // empty: no TLS; set with tls_key
  std::string tls_key;
  std::string tls_client_ca;  // empty: clients need no certificate
  // Empty: no TLS; each set with its key.
  std::string http_tls_certificate;
  std::string http_tls_key;
  std::string http_tls_client_ca;
  std::string operations_tls_certificate;
  std::string operations_tls_key;
  std::string operations_tls_client_ca;
  std::string log_level;
  LogFormat log_format = LogFormat::kText;
  int64_t drain_grace_ms = 0;
};

struct Option {
  const char* name;
  const char* type;  // as --help shows it
  std::string default_text;
  const char* help;
  // INVALID_ARGUMENT that says what was expected and found, without the name.
  std::function<absl::Status(Config&, const std::string& text)> set;
};

// The table.
std::vector<Option> ConfigOptions();

enum class ConfigAction {
  kServe,
  kPrintHelp,
  kPrintVersion,
  kPrintConfig,
  kValidateConfig,
  kVerifyBackup,
  kRestore,
};

struct BackupSource {
  std::string folder;
  uint32_t id = 0;  // 0: the newest
};

struct LoadedConfig {
  ConfigAction action = ConfigAction::kServe;
  // With kVerifyBackup, which needs no data_dir, and kRestore.
  BackupSource backup;
  Config config;
  // What may be a mistake and is no error: variables `WDELTA_…` that no option has.
  std::vector<std::string> warnings;
  // With kPrintHelp the help, with kPrintConfig the effective values as YAML that
  // --config takes.
  std::string text;
};

// The outside world of LoadConfig, so that tests own it.
struct ConfigSources {
  std::function<std::optional<std::string>(const std::string& name)> environment;
  // Of all variables.
  std::function<std::vector<std::string>()> environment_names;
  std::function<absl::StatusOr<std::string>(const std::string& path)> read_file;
};
ConfigSources SystemConfigSources();

// `arguments` without the program's name. INVALID_ARGUMENT, in one line that names
// the option and where its value came from; NOT_FOUND for a missing file.
absl::StatusOr<LoadedConfig> LoadConfig(const std::vector<std::string>& arguments,
                                        const ConfigSources& sources);

}  // namespace wdelta

// wdeltad: options, then the daemon (daemon.h), or what is done without one.
//
// Exit codes: 0 stopped as asked, 1 cannot start or serve, 2 bad configuration.
#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/daemon.h"
#include "server/log.h"
#include "server/offline.h"
#include "server/security.h"

namespace wdelta {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitBadConfig = 2;

int ExitOf(const absl::Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "wdeltad: %s\n", std::string(status.message()).c_str());
  return kExitFailure;
}

int Main(const std::vector<std::string>& arguments) {
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(arguments, SystemConfigSources());
  if (!loaded.ok()) {
    std::fprintf(stderr, "wdeltad: %s\n", std::string(loaded.status().message()).c_str());
    return kExitBadConfig;
  }
  switch (loaded->action) {
    case ConfigAction::kPrintVersion:
      std::printf("wdeltad %s\n", WDELTA_VERSION);
      return 0;
    case ConfigAction::kValidateConfig:
      if (const absl::Status files = OpenSecurity(loaded->config).status(); !files.ok()) {
        std::fprintf(stderr, "wdeltad: %s\n", std::string(files.message()).c_str());
        return kExitBadConfig;
      }
      for (const std::string& warning : loaded->warnings) {
        std::fprintf(stderr, "wdeltad: %s\n", warning.c_str());
      }
      std::printf("wdeltad: the configuration is valid\n");
      return 0;
    case ConfigAction::kPrintHelp:
    case ConfigAction::kPrintConfig:
      std::fputs(loaded->text.c_str(), stdout);
      return 0;
    case ConfigAction::kVerifyBackup:
      return ExitOf(VerifyBackupsOffline(loaded->backup));
    case ConfigAction::kRestore:
      return ExitOf(RestoreOffline(loaded->backup, loaded->config.data_dir));
    case ConfigAction::kServe:
      break;
  }
  const auto log = NewStderrLogger(loaded->config.log_level, loaded->config.log_format);
  for (const std::string& warning : loaded->warnings) log->warn("{}", warning);
  const absl::Status status = RunDaemon(loaded->config, *log);
  if (status.ok()) {
    log->info("stopped");
    return 0;
  }
  log->error("{}", std::string(status.message()));
  return kExitFailure;
}

}  // namespace
}  // namespace wdelta

int main(int argc, char** argv) {
  return wdelta::Main(std::vector<std::string>(argv + 1, argv + argc));
}

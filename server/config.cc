#include "server/config.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "storage/base/error.h"
#include "storage/base/small_file.h"
#include "storage/base/status_macros.h"
#include "yaml-cpp/yaml.h"

namespace wdelta {
namespace {

constexpr size_t kMaxConfigFileBytes = 1024 * 1024;

struct Value {
  std::string text;
  std::string origin;  // for messages, e.g. `--workers`
};
using Values = std::map<std::string, Value>;  // by option

struct CommandLine {
  ConfigAction action = ConfigAction::kServe;
  Value config_file;  // empty: none
  BackupSource backup;
  Values values;
  std::string help;
};

std::string EnvironmentName(absl::string_view option) {
  return absl::StrCat("WDELTA_", absl::AsciiStrToUpper(option));
}

std::string OneLine(absl::string_view text) {
  return absl::StrReplaceAll(absl::StripAsciiWhitespace(text), {{"\n", "; "}});
}

absl::StatusOr<CommandLine> ParseCommandLine(std::vector<std::string> arguments) {
  CommandLine line;
  CLI::App app("wdeltad: a store for model weights that keeps fine-tunes as bit-exact deltas");
  app.name("wdeltad");
  app.footer(
      "Every option can be set as WDELTA_<NAME> in the environment and as `name: value` in the "
      "file of --config.\nA flag wins over the environment, that over the file.\n"
      "Exit codes: 0 stopped as asked, 1 cannot start or serve, 2 bad configuration.");
  app.set_help_flag("-h,--help", "Print this and exit");
  bool version = false, print = false, validate = false;
  app.add_flag("--version", version, "Print the version and exit");
  app.add_flag("--print_config", print, "Print the effective configuration as YAML and exit");
  app.add_flag("--validate_config", validate, "Check the configuration and exit");
  std::string verified_folder;
  CLI::Option* const verify = app.add_option(
      "--verify_backup", verified_folder,
      "Read all backups in DIR, made by `wdelta admin backup`, compare checksums and exit");
  verify->type_name("DIR");
  CLI::Option* const restore =
      app.add_option("--restore_from", line.backup.folder,
                     "Make --data_dir, which is empty or absent, of a backup in DIR and exit");
  restore->type_name("DIR")->excludes(verify);
  app.add_option("--backup_id", line.backup.id, "The backup to restore; default: the newest")
      ->type_name("ID")
      ->needs(restore);
  CLI::Option* const file = app.add_option("--config", line.config_file.text, "YAML file");
  file->type_name("FILE");
  const std::vector<Option> options = ConfigOptions();
  for (const Option& option : options) {
    const std::string flag = absl::StrCat("--", option.name);
    const auto keep = [&line, &option, flag](const std::string& text) {
      line.values[option.name] = {text, flag};
    };
    app.add_option_function<std::string>(flag, keep, option.help)
        ->type_name(option.type)
        ->default_str(option.default_text);
  }
  try {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 takes them
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    line.action = ConfigAction::kPrintHelp;
    line.help = app.help();
    return line;
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(absl::StrCat("command line: ", OneLine(error.what())));
  }
  line.config_file.origin = "--config";
  if (version)
    line.action = ConfigAction::kPrintVersion;
  else if (print)
    line.action = ConfigAction::kPrintConfig;
  else if (validate)
    line.action = ConfigAction::kValidateConfig;
  else if (restore->count() > 0)
    line.action = ConfigAction::kRestore;
  else if (!verified_folder.empty())
    line.action = ConfigAction::kVerifyBackup;
  if (line.action == ConfigAction::kVerifyBackup) line.backup.folder = verified_folder;
  return line;
}

// A list too where the option takes several values.
std::optional<std::string> TextOf(const YAML::Node& node, const Option& option) {
  if (node.IsScalar()) return node.Scalar();
  if (!node.IsSequence() || !absl::EndsWith(option.type, ",...")) return std::nullopt;
  std::vector<std::string> items;
  for (const YAML::Node& item : node) {
    if (!item.IsScalar()) return std::nullopt;
    items.push_back(item.Scalar());
  }
  return absl::StrJoin(items, ",");
}

absl::StatusOr<Values> ParseYaml(const std::string& path, const std::string& text) {
  const auto bad = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", OneLine(why)));
  };
  Values values;
  try {
    const YAML::Node root = YAML::Load(text);
    if (root.IsNull()) return values;
    if (!root.IsMap()) return bad("expected lines of `name: value`");
    const std::vector<Option> options = ConfigOptions();
    for (const auto& item : root) {
      if (!item.first.IsScalar()) return bad("expected option names as keys");
      const std::string key = item.first.Scalar();
      const auto option = std::find_if(options.begin(), options.end(),
                                       [&](const Option& o) { return key == o.name; });
      if (option == options.end()) return bad(absl::StrCat("unknown key '", key, "'"));
      const std::optional<std::string> value = TextOf(item.second, *option);
      if (!value.has_value()) return bad(absl::StrCat(key, ": expected one value"));
      if (!values.emplace(key, Value{*value, absl::StrCat(path, ": ", key)}).second) {
        return bad(absl::StrCat("key '", key, "' is given twice"));
      }
    }
  } catch (const YAML::Exception& error) {
    return bad(error.what());
  }
  return values;
}

// The weaker value comes first; each source overwrites the one before.
absl::StatusOr<Values> MergeSources(const CommandLine& line, const ConfigSources& sources) {
  Values merged;
  for (const Option& option : ConfigOptions()) {
    merged[option.name] = {option.default_text, absl::StrCat("default of ", option.name)};
  }
  std::string file = line.config_file.text;
  if (file.empty()) file = sources.environment(EnvironmentName("config")).value_or("");
  if (!file.empty()) {
    WDELTA_ASSIGN_OR_RETURN(const std::string text, sources.read_file(file));
    WDELTA_ASSIGN_OR_RETURN(const Values from_file, ParseYaml(file, text));
    for (const auto& [name, value] : from_file) merged[name] = value;
  }
  for (const Option& option : ConfigOptions()) {
    const std::string name = EnvironmentName(option.name);
    if (const std::optional<std::string> text = sources.environment(name)) {
      merged[option.name] = {*text, name};
    }
  }
  for (const auto& [name, value] : line.values) merged[name] = value;
  return merged;
}

// A misspelt variable would otherwise be no more than a default that nobody expects.
std::vector<std::string> UnknownVariables(const ConfigSources& sources) {
  // Of the command line, of failpoint.h, and what Kubernetes sets in every pod for a service
  // `wdelta`.
  constexpr absl::string_view kOthers[] = {"WDELTA_CONFIG", "WDELTA_SERVER", "WDELTA_TOKEN",
                                           "WDELTA_TLS_CA", "WDELTA_FAILPOINTS"};
  std::vector<std::string> warnings;
  if (!sources.environment_names) return warnings;
  const std::vector<Option> options = ConfigOptions();
  for (const std::string& name : sources.environment_names()) {
    if (!absl::StartsWith(name, "WDELTA_") || absl::StartsWith(name, "WDELTA_PORT") ||
        absl::StartsWith(name, "WDELTA_SERVICE_")) {
      continue;
    }
    const bool is_known =
        std::find(std::begin(kOthers), std::end(kOthers), name) != std::end(kOthers) ||
        std::any_of(options.begin(), options.end(),
                    [&](const Option& option) { return name == EnvironmentName(option.name); });
    if (!is_known) warnings.push_back(absl::StrCat(name, ": no option has this name; ignored"));
  }
  return warnings;
}

std::string ToYaml(const Values& values) {
  YAML::Emitter yaml;
  yaml << YAML::BeginMap;
  for (const Option& option : ConfigOptions()) {
    yaml << YAML::Key << option.name << YAML::Value << values.at(option.name).text;
  }
  yaml << YAML::EndMap;
  return absl::StrCat(yaml.c_str(), "\n");
}

absl::Status CheckTls(absl::string_view prefix, const std::string& certificate,
                      const std::string& key, const std::string& client_ca) {
  if (certificate.empty() != key.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(prefix, "tls_certificate, ", prefix,
                                                   "tls_key: expected both or neither, found one"));
  }
  if (client_ca.empty() || !certificate.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(prefix, "tls_client_ca: expected with ", prefix,
                                                 "tls_certificate and ", prefix, "tls_key"));
}

// Options that are of no use alone.
absl::Status CheckTogether(const Config& config) {
  WDELTA_RETURN_IF_ERROR(
      CheckTls("", config.tls_certificate, config.tls_key, config.tls_client_ca));
  WDELTA_RETURN_IF_ERROR(CheckTls("http_", config.http_tls_certificate, config.http_tls_key,
                                  config.http_tls_client_ca));
  return CheckTls("operations_", config.operations_tls_certificate, config.operations_tls_key,
                  config.operations_tls_client_ca);
}

}  // namespace

ConfigSources SystemConfigSources() {
  ConfigSources sources;
  sources.environment = [](const std::string& name) -> std::optional<std::string> {
    const char* const value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  };
  sources.environment_names = [] {
    std::vector<std::string> names;
    for (char** variable = environ; *variable != nullptr; ++variable) {
      const absl::string_view text = *variable;
      names.emplace_back(text.substr(0, text.find('=')));
    }
    return names;
  };
  sources.read_file = [](const std::string& path) -> absl::StatusOr<std::string> {
    absl::StatusOr<std::string> text = ReadSmallFile(path, kMaxConfigFileBytes);
    if (!text.ok()) return Annotate(text.status(), "--config");
    return text;
  };
  return sources;
}

absl::StatusOr<LoadedConfig> LoadConfig(const std::vector<std::string>& arguments,
                                        const ConfigSources& sources) {
  WDELTA_ASSIGN_OR_RETURN(const CommandLine line, ParseCommandLine(arguments));
  LoadedConfig loaded;
  loaded.action = line.action;
  loaded.text = line.help;
  loaded.backup = line.backup;
  if (line.action == ConfigAction::kPrintHelp || line.action == ConfigAction::kPrintVersion ||
      line.action == ConfigAction::kVerifyBackup) {
    return loaded;
  }
  WDELTA_ASSIGN_OR_RETURN(const Values values, MergeSources(line, sources));
  loaded.warnings = UnknownVariables(sources);
  for (const Option& option : ConfigOptions()) {
    const Value& value = values.at(option.name);
    const absl::Status status = option.set(loaded.config, value.text);
    if (!status.ok()) return Annotate(status, value.origin);
  }
  if (loaded.config.data_dir.empty()) {
    return absl::InvalidArgumentError(
        "data_dir: expected a folder, found none; give --data_dir, WDELTA_DATA_DIR or data_dir in "
        "the file of --config");
  }
  WDELTA_RETURN_IF_ERROR(CheckTogether(loaded.config));
  if (line.action == ConfigAction::kPrintConfig) loaded.text = ToYaml(values);
  return loaded;
}

}  // namespace wdelta

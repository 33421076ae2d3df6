#include "server/config.h"

#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace wdelta {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct World {
  std::map<std::string, std::string> environment;
  std::map<std::string, std::string> files;

  ConfigSources Sources() const {
    ConfigSources sources;
    sources.environment = [this](const std::string& name) -> std::optional<std::string> {
      const auto found = environment.find(name);
      if (found == environment.end()) return std::nullopt;
      return found->second;
    };
    sources.read_file = [this](const std::string& path) -> absl::StatusOr<std::string> {
      const auto found = files.find(path);
      if (found == files.end()) return absl::NotFoundError("cannot read " + path);
      return found->second;
    };
    sources.environment_names = [this] {
      std::vector<std::string> names;
      for (const auto& [name, value] : environment) names.push_back(name);
      return names;
    };
    return sources;
  }
};

std::string ErrorOf(const std::vector<std::string>& arguments, const World& world = {}) {
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(arguments, world.Sources());
  EXPECT_FALSE(loaded.ok());
  const std::string message(loaded.status().message());
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  return message;
}

TEST(Config, StrongerSourcesWin) {
  struct Row {
    bool flag, environment, file;
    int workers;
  };
  for (const Row& row :
       {Row{false, false, false, 2}, Row{false, false, true, 3}, Row{false, true, false, 4},
        Row{false, true, true, 4}, Row{true, false, false, 5}, Row{true, false, true, 5},
        Row{true, true, false, 5}, Row{true, true, true, 5}}) {
    World world;
    world.files["c.yaml"] = row.file ? "workers: 3\n" : "# nothing\n";
    if (row.environment) world.environment["WDELTA_WORKERS"] = "4";
    std::vector<std::string> arguments = {"--data_dir=/d", "--config=c.yaml"};
    if (row.flag) arguments.push_back("--workers=5");
    const auto loaded = LoadConfig(arguments, world.Sources());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(loaded->config.workers, row.workers) << row.flag << row.environment << row.file;
  }
}

TEST(Config, ReadsEveryType) {
  World world;
  const auto loaded = LoadConfig(
      {"--data_dir=/d", "--listen=0.0.0.0:1, unix:/s", "--http_listen=[::1]:8080",
       "--operations_listen=localhost:9401", "--memory_limit=2GiB", "--log_format=json",
       "--drain_grace_ms=0", "--gc_interval=90m", "--upload_ttl=36h", "--min_free_bytes=3GiB"},
      world.Sources());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(loaded->config.listen, ElementsAre("0.0.0.0:1", "unix:/s"));
  EXPECT_EQ(loaded->config.http_listen, "[::1]:8080");
  EXPECT_EQ(loaded->config.operations_listen, "localhost:9401");
  EXPECT_EQ(loaded->config.memory_limit_bytes, uint64_t{2} << 30);
  EXPECT_EQ(loaded->config.log_format, LogFormat::kJson);
  EXPECT_EQ(loaded->config.drain_grace_ms, 0);
  EXPECT_EQ(loaded->config.gc_interval, absl::Minutes(90));
  EXPECT_EQ(loaded->config.upload_ttl, absl::Hours(36));
  EXPECT_EQ(loaded->config.min_free_bytes, uint64_t{3} << 30);
}

TEST(Config, AnIntervalMayBeOff) {
  World world;
  const auto off = LoadConfig({"--data_dir=/d", "--gc_interval=off"}, world.Sources());
  ASSERT_TRUE(off.ok()) << off.status();
  EXPECT_EQ(off->config.gc_interval, absl::ZeroDuration());
  for (const char* bad : {"0", "5s", "-1h", "soon", "inf"}) {
    const auto refused =
        LoadConfig({"--data_dir=/d", std::string("--gc_interval=") + bad}, world.Sources());
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(Config, LostWritesAreAcceptedOnlyWhenAskedFor) {
  World world;
  const auto by_default = LoadConfig({"--data_dir=/d"}, world.Sources());
  ASSERT_TRUE(by_default.ok()) << by_default.status();
  EXPECT_FALSE(by_default->config.accept_lost_writes);
  world.files["c.yaml"] = "accept_lost_writes: true\n";
  const auto accepted = LoadConfig({"--data_dir=/d", "--config=c.yaml"}, world.Sources());
  ASSERT_TRUE(accepted.ok()) << accepted.status();
  EXPECT_TRUE(accepted->config.accept_lost_writes);
  const auto bad = LoadConfig({"--data_dir=/d", "--accept_lost_writes=yes"}, world.Sources());
  EXPECT_EQ(bad.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(bad.status().message(), "--accept_lost_writes: expected true or false, found 'yes'");
}

TEST(Config, UploadsMayStayOpenForEver) {
  World world;
  const auto by_default = LoadConfig({"--data_dir=/d"}, world.Sources());
  ASSERT_TRUE(by_default.ok()) << by_default.status();
  EXPECT_EQ(by_default->config.upload_ttl, absl::Hours(7 * 24));
  const auto never = LoadConfig({"--data_dir=/d", "--upload_ttl=0"}, world.Sources());
  ASSERT_TRUE(never.ok()) << never.status();
  EXPECT_EQ(never->config.upload_ttl, absl::ZeroDuration());
  for (const char* bad : {"off", "5ms", "-1h", "soon", "inf"}) {
    const auto refused =
        LoadConfig({"--data_dir=/d", std::string("--upload_ttl=") + bad}, world.Sources());
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(Config, AMisspeltVariableIsToldOf) {
  World world;
  world.environment = {{"WDELTA_LOG_LEVL", "debug"},
                       {"WDELTA_WORKERS", "3"},
                       {"WDELTA_SERVER", "localhost:1"},
                       {"WDELTA_TOKEN", "t"},
                       {"WDELTA_FAILPOINTS", "x"},
                       {"WDELTA_SERVICE_HOST", "10.0.0.1"},
                       {"WDELTA_PORT_50051_TCP", "tcp://x"},
                       {"HOME", "/"},
                       {"WDELTA_TLS_KEY", ""}};
  const auto loaded = LoadConfig({"--data_dir=/d"}, world.Sources());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(loaded->warnings, ElementsAre("WDELTA_LOG_LEVL: no option has this name; ignored"));
}

TEST(Config, AListInTheFileIsOneOfValues) {
  World world;
  world.files["c.yaml"] = "data_dir: /d\nlisten: [localhost:1, 'unix:/s']\n";
  const auto loaded = LoadConfig({"--config=c.yaml"}, world.Sources());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(loaded->config.listen, ElementsAre("localhost:1", "unix:/s"));
  world.files["c.yaml"] = "data_dir: /d\nworkers: [1, 2]\n";
  EXPECT_EQ(ErrorOf({"--config=c.yaml"}, world), "c.yaml: workers: expected one value");
  world.files["c.yaml"] = "data_dir: /d\nlisten: [[a], b]\n";
  EXPECT_EQ(ErrorOf({"--config=c.yaml"}, world), "c.yaml: listen: expected one value");
}

TEST(Config, PrintedConfigReadsBackTheSame) {
  World world;
  const auto printed =
      LoadConfig({"--data_dir=/with: colon", "--workers=7", "--print_config"}, world.Sources());
  ASSERT_TRUE(printed.ok()) << printed.status();
  EXPECT_EQ(printed->action, ConfigAction::kPrintConfig);
  world.files["p.yaml"] = printed->text;
  const auto again = LoadConfig({"--config=p.yaml", "--print_config"}, world.Sources());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->text, printed->text);
  EXPECT_EQ(again->config.workers, 7);
  EXPECT_EQ(again->config.data_dir, "/with: colon");
}

TEST(Config, ErrorsNameOptionAndSource) {
  EXPECT_THAT(ErrorOf({}), HasSubstr("--data_dir"));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--nonsense=1"}), HasSubstr("--nonsense"));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--workers=0"}),
              AllOf(HasSubstr("--workers"), HasSubstr("from 1"), HasSubstr("'0'")));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--memory_limit=1GB"}), HasSubstr("GiB"));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--memory_limit=99999999999TiB"}),
              HasSubstr("memory_limit"));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--listen=localhost"}), HasSubstr("HOST:PORT"));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--listen=localhost:65536"}), HasSubstr("65536"));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--http_listen=8080"}),
              AllOf(HasSubstr("--http_listen"), HasSubstr("HOST:PORT")));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--http_listen=unix:/s"}), HasSubstr("HOST:PORT"));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--operations_listen=9401"}),
              AllOf(HasSubstr("--operations_listen"), HasSubstr("HOST:PORT")));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--http_max_connections=0"}), HasSubstr("from 1"));
  EXPECT_THAT(ErrorOf({"--data_dir=/d"}, {{{"WDELTA_LOG_LEVEL", "loud"}}, {}}),
              AllOf(HasSubstr("WDELTA_LOG_LEVEL"), HasSubstr("loud")));
  EXPECT_THAT(ErrorOf({"--config=gone.yaml"}), HasSubstr("gone.yaml"));
}

TEST(Config, TlsNeedsCertificateAndKey) {
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--tls_certificate=c"}),
              AllOf(HasSubstr("tls_certificate"), HasSubstr("tls_key")));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--tls_key=k"}), HasSubstr("both or neither"));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--http_tls_key=k"}),
              AllOf(HasSubstr("http_tls_certificate"), HasSubstr("both or neither")));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--operations_tls_certificate=c"}),
              AllOf(HasSubstr("operations_tls_key"), HasSubstr("both or neither")));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--tls_client_ca=a"}), HasSubstr("tls_client_ca"));
  EXPECT_THAT(ErrorOf({"--data_dir=/d", "--operations_tls_client_ca=a"}),
              HasSubstr("operations_tls_client_ca: expected with operations_tls_certificate"));
  const World world;
  const auto loaded = LoadConfig({"--data_dir=/d", "--tls_certificate=c", "--tls_key=k",
                                  "--tls_client_ca=a", "--tokens_file=t"},
                                 world.Sources());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.tls_certificate, "c");
  EXPECT_EQ(loaded->config.tls_key, "k");
  EXPECT_EQ(loaded->config.tls_client_ca, "a");
  EXPECT_EQ(loaded->config.tokens_file, "t");
}

TEST(Config, BackupsAreEitherVerifiedOrRestored) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--verify_backup=/b", "--restore_from=/b", "--data_dir=/d"},
        std::vector<std::string>{"--restore_from=/b", "--data_dir=/d", "--verify_backup=/b"}}) {
    EXPECT_THAT(ErrorOf(arguments),
                AllOf(HasSubstr("--verify_backup"), HasSubstr("--restore_from")));
  }
  EXPECT_THAT(ErrorOf({"--verify_backup=/b", "--backup_id=1"}), HasSubstr("--restore_from"));
  const World world;
  const auto verify = LoadConfig({"--verify_backup=/b"}, world.Sources());
  ASSERT_TRUE(verify.ok()) << verify.status();
  EXPECT_EQ(verify->action, ConfigAction::kVerifyBackup);
  EXPECT_EQ(verify->backup.folder, "/b");
  const auto restore =
      LoadConfig({"--restore_from=/b", "--backup_id=7", "--data_dir=/d"}, world.Sources());
  ASSERT_TRUE(restore.ok()) << restore.status();
  EXPECT_EQ(restore->action, ConfigAction::kRestore);
  EXPECT_EQ(restore->backup.id, 7u);
}

TEST(Config, YamlErrorsNameFileAndKey) {
  const auto error_of = [](const std::string& yaml) {
    return ErrorOf({"--data_dir=/d", "--config=c.yaml"}, {{}, {{"c.yaml", yaml}}});
  };
  EXPECT_THAT(error_of("wokers: 3\n"), AllOf(HasSubstr("c.yaml"), HasSubstr("wokers")));
  EXPECT_THAT(error_of("workers: many\n"), AllOf(HasSubstr("c.yaml: workers"), HasSubstr("many")));
  EXPECT_THAT(error_of("workers: [1]\n"), AllOf(HasSubstr("c.yaml"), HasSubstr("workers")));
  EXPECT_THAT(error_of("workers: 1\nworkers: 2\n"), HasSubstr("twice"));
  EXPECT_THAT(error_of("- a\n"), HasSubstr("c.yaml"));
  EXPECT_THAT(error_of("a: [\n"), HasSubstr("c.yaml"));
}

TEST(Config, HelpListsEveryOption) {
  const auto loaded = LoadConfig({"--help"}, World().Sources());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->action, ConfigAction::kPrintHelp);
  for (const Option& option : ConfigOptions()) {
    EXPECT_THAT(loaded->text, HasSubstr(std::string("--") + option.name));
  }
}

}  // namespace
}  // namespace wdelta

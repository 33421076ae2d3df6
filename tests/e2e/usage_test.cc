// What the command line says to one who mistypes.
#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/daemon.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/process.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

TEST(Usage, WhatIsNotUnderstoodIsNamed) {
  const auto expect = [](std::vector<std::string> arguments, const std::string& words) {
    arguments.insert(arguments.begin(), WDELTA_FILE);
    const CommandResult result = RunCommand(arguments);
    EXPECT_EQ(result.exit_code, 2) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr(words));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  };
  expect({}, "A subcommand is required; see `wdelta --help`");
  expect({"pull", "x"}, "see `wdelta pull --help`");
  expect({"retention", "set"}, "see `wdelta retention set --help`");
  expect({"psuh", "folder"}, "`psuh` is no command here");
  expect({"retention", "remove"}, "`remove` is no command here");
  expect({"--outptu", "json"}, "unknown option `--outptu`");
  expect({"push", "folder", "--nam", "x"}, "unknown option `--nam`; --name is required");
  expect({"push", "folder", "x"}, "unexpected argument `x`; --name is required");
  expect({"ls", "--bogus"}, "--bogus");
  expect({"jobs", "a", "b"}, "usage: The following argument was not expected: b; see");
}

TEST(Usage, VersionAndHelpNeedNoServer) {
  const CommandResult version = RunCommand({WDELTA_FILE, "--version"});
  EXPECT_EQ(version.exit_code, 0) << version.err;
  EXPECT_THAT(version.out, ::testing::MatchesRegex("wdelta [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  const CommandResult help = RunCommand({WDELTA_FILE, "retention", "--help"});
  EXPECT_EQ(help.exit_code, 0) << help.err;
  EXPECT_THAT(help.out, HasSubstr("wdelta retention rm runs"));
}

TEST(Usage, AJobThatMayNotBeWatchedIsNamed) {
  const TempFolder folder;
  const CommandResult made =
      RunCommand({WDELTA_FILE, "token", "ops", "--scope", "admin", "--json"});
  const Json token = Json::parse(made.out, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(token.is_object()) << made.out << made.err;
  folder.Write("tokens.yaml", token["entry"].get<std::string>());
  const Daemon daemon(folder / "data", {"--tokens_file=" + (folder / "tokens.yaml")});
  const CommandResult collected =
      daemon.Wdelta({"gc", "--wait", "--token", token["token"].get<std::string>()});
  EXPECT_EQ(collected.exit_code, 11);
  EXPECT_THAT(collected.err, HasSubstr("goes on unwatched: "));
  EXPECT_THAT(collected.err, HasSubstr("lacks the scope read"));
}

TEST(Usage, JobsByStateAndNumber) {
  const TempFolder folder;
  for (const auto& [path, bytes] : SmallCheckpoint(1)) folder.Write("base/" + path, bytes);
  const Daemon daemon(folder / "data");
  const auto jobs = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"jobs", "--json"});
    return Json::parse(daemon.WdeltaOk(arguments), nullptr, /*allow_exceptions=*/false);
  };
  for (const char* name : {"a", "b", "c"}) {
    daemon.WdeltaOk({"push", folder / "base", "--name", name, "--wait"});
  }
  EXPECT_EQ(jobs({}).size(), 3u);
  EXPECT_EQ(jobs({"--state", "succeeded", "--limit", "2"}).size(), 2u);
  EXPECT_EQ(jobs({"--limit", "1"})[0]["model_name"], "c");
  EXPECT_EQ(jobs({"--state", "failed", "--state", "cancelled"}).size(), 0u);
  const CommandResult wrong = daemon.Wdelta({"jobs", "--state", "done"});
  EXPECT_EQ(wrong.exit_code, 5) << wrong.err;
  EXPECT_THAT(wrong.err, HasSubstr("state `done`: expected pending"));
}

}  // namespace
}  // namespace wdelta::testing

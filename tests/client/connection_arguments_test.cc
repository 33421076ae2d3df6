#include "client/cli/connection_arguments.h"

#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

ConnectionArguments::Environment With(const std::map<std::string, std::string>& variables) {
  return [variables](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  };
}

std::string TokenOf(const ConnectionArguments& arguments,
                    const std::map<std::string, std::string>& variables = {}) {
  const auto options = arguments.ToOptions(With(variables));
  EXPECT_TRUE(options.ok()) << options.status();
  return options.ok() ? options->token : "";
}

std::string ErrorOf(const ConnectionArguments& arguments,
                    const std::map<std::string, std::string>& variables = {}) {
  const auto options = arguments.ToOptions(With(variables));
  EXPECT_FALSE(options.ok());
  return std::string(options.status().message());
}

TEST(ConnectionArguments, AGivenTokenWinsOverTheEnvironment) {
  const TempFolder folder;
  folder.Write("token", "wd_file\n");
  EXPECT_EQ(TokenOf({}), "");
  EXPECT_EQ(TokenOf({}, {{"WDELTA_TOKEN", "wd_env"}, {"HF_TOKEN", "hf"}}), "wd_env");
  EXPECT_EQ(TokenOf({}, {{"WDELTA_TOKEN", ""}, {"HF_TOKEN", "hf"}}), "");
  ConnectionArguments file;
  file.token_file = folder / "token";
  EXPECT_EQ(TokenOf(file, {{"WDELTA_TOKEN", "wd_env"}}), "wd_file");
  ConnectionArguments given;
  given.token = "wd_given";
  EXPECT_EQ(TokenOf(given, {{"WDELTA_TOKEN", "wd_env"}}), "wd_given");
}

TEST(ConnectionArguments, BadTokensAreNotTold) {
  const TempFolder folder;
  folder.Write("two", "wd_one wd_two");
  folder.Write("empty", "\n");
  ConnectionArguments arguments;
  arguments.token_file = folder / "two";
  EXPECT_THAT(ErrorOf(arguments), AllOf(HasSubstr(folder / "two"), Not(HasSubstr("wd_one"))));
  arguments.token_file = folder / "empty";
  EXPECT_THAT(ErrorOf(arguments), HasSubstr("--token-file"));
  arguments.token_file = folder / "none";
  EXPECT_THAT(ErrorOf(arguments), HasSubstr(folder / "none"));
  EXPECT_THAT(ErrorOf({}, {{"WDELTA_TOKEN", "a\nb"}}), HasSubstr("WDELTA_TOKEN"));
}

TEST(ConnectionArguments, TlsTakesFilesThatBelongTogether) {
  const TempFolder folder;
  for (const char* name : {"ca", "certificate", "key"}) folder.Write(name, name);
  folder.Write("empty", "");
  ConnectionArguments arguments;
  arguments.tls_ca = folder / "ca";
  auto options = arguments.ToOptions(With({}));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->tls.ca_certificates, "ca");
  arguments.tls_certificate = folder / "certificate";
  EXPECT_THAT(ErrorOf(arguments), HasSubstr("both or neither"));
  arguments.tls_key = folder / "key";
  options = arguments.ToOptions(With({}));
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->tls.certificate, "certificate");
  EXPECT_EQ(options->tls.key, "key");
  arguments.tls_ca = folder / "none";
  EXPECT_THAT(ErrorOf(arguments), AllOf(HasSubstr("--tls-ca"), HasSubstr(folder / "none")));
  arguments.tls_ca = folder / "empty";
  EXPECT_THAT(ErrorOf(arguments), HasSubstr("empty"));
  folder.Write("large", std::string(1024 * 1024 + 1, 'x'));
  arguments.tls_ca = folder / "large";
  EXPECT_THAT(ErrorOf(arguments), AllOf(HasSubstr("--tls-ca"), HasSubstr("at most 1048576 bytes")));
  arguments.tls_ca = "";
  EXPECT_THAT(ErrorOf(arguments), HasSubstr("--tls-ca"));
}

TEST(ConnectionArguments, WarnsOfATokenInPlainText) {
  ClientOptions options;
  EXPECT_THAT(PlainTextWarning("far:1", options), IsEmpty());
  options.token = "wd_secret";
  EXPECT_THAT(PlainTextWarning("far:1", options),
              AllOf(HasSubstr("far:1"), HasSubstr("plain text"), Not(HasSubstr("wd_secret"))));
  EXPECT_THAT(PlainTextWarning("localhost:1", options), IsEmpty());
  EXPECT_THAT(PlainTextWarning("unix:/s", options), IsEmpty());
  options.tls.ca_certificates = "ca";
  EXPECT_THAT(PlainTextWarning("far:1", options), IsEmpty());
}

TEST(ConnectionArguments, TheServerIsWaitedForAsLongAsIsSaid) {
  for (const char* option : {"--wait-for-server=90s", "--wait_for_server=1m30s"}) {
    CLI::App app;
    ConnectionArguments arguments;
    arguments.AddTo(app);
    app.parse(std::string(option));
    EXPECT_EQ(arguments.wait_for_server, absl::Seconds(90)) << option;
  }
  EXPECT_EQ(ConnectionArguments().wait_for_server, absl::ZeroDuration());
  for (const char* wrong : {"", "30", "-1s", "25h", "inf", "soon"}) {
    ConnectionArguments arguments;
    const absl::Status status = arguments.SetWait(wrong);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << wrong;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--wait-for-server"));
    CLI::App app;
    arguments.AddTo(app);
    EXPECT_THROW(app.parse(std::string("--wait-for-server=") + wrong), CLI::ParseError) << wrong;
  }
}

TEST(ConnectionArguments, OptionsAreReadInBothSpellings) {
  for (const char* option : {"--token-file=f", "--token_file=f"}) {
    CLI::App app;
    ConnectionArguments arguments;
    arguments.AddTo(app);
    app.parse(std::string(option));
    EXPECT_EQ(arguments.token_file, "f") << option;
  }
  CLI::App app;
  ConnectionArguments arguments;
  arguments.AddTo(app);
  EXPECT_THROW(app.parse("--token=t --token-file=f"), CLI::ParseError);
}

}  // namespace
}  // namespace wdelta

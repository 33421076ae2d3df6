#include "server/auth/audit_log.h"

#include <memory>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "spdlog/sinks/ostream_sink.h"

namespace wdelta {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

std::string LineOf(const AuditEntry& entry) {
  std::ostringstream text;
  spdlog::logger log("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
  log.set_pattern("%v");
  LogAudit(log, entry);
  return text.str();
}

TEST(AuditLog, TellsWhoDidWhatToWhat) {
  Identity identity;
  identity.name = "ci";
  EXPECT_EQ(LineOf({&identity, "ipv4:1.2.3.4:5", "Models.SetTag", {"m", "prod"}, "OK", "r1"}),
            "audit: token ci Models.SetTag m,prod: OK, request r1, peer ipv4:1.2.3.4:5\n");
  EXPECT_EQ(LineOf({nullptr, "ipv4:1.2.3.4:5", "Admin.Backup", {}, "OK", "r1"}),
            "audit: token - Admin.Backup -: OK, request r1, peer ipv4:1.2.3.4:5\n");
}

TEST(AuditLog, IsWrittenWhateverTheLevelIs) {
  std::ostringstream text;
  spdlog::logger log("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
  log.set_pattern("%l %v");
  log.set_level(spdlog::level::err);
  log.info("left out");
  LogAudit(log, {nullptr, "p", "Admin.Backup", {}, "OK", "r1"});
  EXPECT_EQ(text.str(), "info audit: token - Admin.Backup -: OK, request r1, peer p\n");
  EXPECT_EQ(log.level(), spdlog::level::err);
}

TEST(AuditLog, StaysOnOneLineOfBoundedLength) {
  const std::string line =
      LineOf({nullptr, "p", "A.B", {"a\nb", std::string(9000, 'x')}, "OK", ""});
  EXPECT_THAT(line, HasSubstr("a\\nb,xxx"));
  EXPECT_LT(line.size(), 1000u);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

}  // namespace
}  // namespace wdelta

#include "server/operations/health_checks.h"

#include <string>

#include "gtest/gtest.h"

namespace wdelta {
namespace {

TEST(HealthChecks, IsReadyWhileItServesFromAnOpenStoreWithSpace) {
  HealthChecks health;
  EXPECT_EQ(health.Look().text,
            "[-]serving failed: the daemon is starting\n"
            "[-]store failed: the store is not open\n"
            "[-]disk failed: the store is not open\n"
            "readyz check failed\n");
  EXPECT_FALSE(health.Look().is_ready);

  absl::Status disk;
  health.SetStore([&disk] { return disk; });
  EXPECT_FALSE(health.Look().is_ready);
  health.SetServing();
  EXPECT_TRUE(health.Look().is_ready);
  EXPECT_EQ(health.Look().text, "[+]serving ok\n[+]store ok\n[+]disk ok\nreadyz check passed\n");

  disk = absl::ResourceExhaustedError("the store is read-only");
  EXPECT_FALSE(health.Look().is_ready);
  EXPECT_EQ(health.Look().text,
            "[+]serving ok\n[+]store ok\n[-]disk failed: the store is read-only\n"
            "readyz check failed\n");
  EXPECT_TRUE(health.Look({"disk"}).is_ready);
  EXPECT_EQ(health.Look({"disk"}).text,
            "[+]serving ok\n[+]store ok\n[ ]disk excluded\nreadyz check passed\n");
  EXPECT_FALSE(health.Look({"nosuch"}).is_ready);
  disk = absl::OkStatus();
  EXPECT_TRUE(health.Look().is_ready);
}

TEST(HealthChecks, DrainingIsForGood) {
  HealthChecks health;
  health.SetStore([] { return absl::OkStatus(); });
  health.SetServing();
  health.SetDraining();
  health.SetServing();
  EXPECT_FALSE(health.Look().is_ready);
  EXPECT_NE(health.Look().text.find("[-]serving failed: the daemon is stopping"),
            std::string::npos);
  // A signal that came while it started.
  HealthChecks early;
  early.SetDraining();
  early.SetServing();
  EXPECT_FALSE(early.Look().is_ready);
}

}  // namespace
}  // namespace wdelta

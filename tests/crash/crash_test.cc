// Nothing that was acknowledged is lost when the daemon is killed, nothing half-written is
// seen, and no space is leaked. WDELTA_CRASH_KILLS and WDELTA_CRASH_SEED choose how many
// kills, and of which random sequence; `./dev crash` sets them.
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"
#include "storage/base/failpoint.h"
#include "tests/crash/crash_checks.h"
#include "tests/crash/crash_worker.h"
#include "tests/crash/truth.h"
#include "tests/crash/victim.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_seed.h"

namespace wdelta::testing {
namespace {

constexpr int kDefaultKills = 12;
constexpr int kKillsPerFolder = 40;  // then everything is deleted and the folder looked at
constexpr int kWorkers = 3;
constexpr int kMaxLifeMs = 500;
constexpr int kMaxStartMs = 60;  // into which a kill during the start falls

uint32_t FromEnvironment(const char* name, uint32_t otherwise) {
  const char* const text = std::getenv(name);
  uint32_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

class CrashTest : public ::testing::Test {
 protected:
  // One data folder, from its making until it is empty again.
  class Store {
   public:
    explicit Store(uint32_t seed) : random_(seed) {
      for (int i = 0; i < kWorkers; ++i) {
        workers_.push_back(std::make_unique<CrashWorker>(i, random_(), &truth_));
      }
    }

    // Killed at a random moment, in one of six cases while it starts. That moment is what
    // the test is about: hence the sleeps.
    void LiveAndBeKilled() {
      if (random_() % 6 == 0) {
        Victim victim(DataDir());
        absl::SleepFor(absl::Milliseconds(random_() % kMaxStartMs));
        victim.Kill();
        return;
      }
      const std::unique_ptr<Victim> victim = StartAndCheck();
      if (HasFatalFailure() || victim == nullptr) return;
      Life life;
      std::vector<std::thread> threads = Work(*victim, life);
      absl::SleepFor(absl::Milliseconds(random_() % kMaxLifeMs));
      life.is_over = true;
      victim->Kill();
      for (std::thread& thread : threads) thread.join();
    }

    // Whether the daemon killed itself there.
    bool LiveUntil(const std::string& failpoint) {
      Victim victim(DataDir(), failpoint);
      if (!victim.AwaitServing()) return true;
      Life life;
      life.has_failpoint = true;
      life.max_steps = kFailpointSteps;
      for (std::thread& thread : Work(victim, life)) thread.join();
      return victim.Stop() == 128 + SIGKILL;
    }

    std::unique_ptr<Victim> StartAndCheck() {
      const absl::Time start = absl::Now();
      auto victim = std::make_unique<Victim>(DataDir());
      if (!victim->AwaitServing()) {
        ADD_FAILURE() << "the daemon ended before it served: " << victim->output();
        return nullptr;
      }
      slowest_start_ = std::max(slowest_start_, absl::Now() - start);
      SettleAndCheck(victim->NewChannel(), truth_);
      return victim;
    }

    void DeleteAllAndStop() {
      const std::unique_ptr<Victim> victim = StartAndCheck();
      if (victim == nullptr) return;
      DeleteAll(victim->NewChannel(), truth_);
      EXPECT_EQ(victim->Stop(), 0) << victim->output();
      ExpectEmptyDataDir(DataDir());
    }

    absl::Duration slowest_start() const { return slowest_start_; }
    uint64_t acknowledged_count() const { return truth_.acknowledged_count(); }

   private:
    static constexpr int kFailpointSteps = 60;

    std::string DataDir() const { return folder_ / "data"; }

    std::vector<std::thread> Work(const Victim& victim, Life& life) {
      std::vector<std::thread> threads;
      for (const auto& worker : workers_) {
        threads.emplace_back(
            [&life, &worker, channel = victim.NewChannel()] { worker->Run(channel, life); });
      }
      return threads;
    }

    const TempFolder folder_;
    std::mt19937 random_;
    Truth truth_;
    std::vector<std::unique_ptr<CrashWorker>> workers_;
    absl::Duration slowest_start_;
  };

  const uint32_t seed_ = FromEnvironment("WDELTA_CRASH_SEED", TestSeed());
};

TEST_F(CrashTest, NothingAcknowledgedIsLostWhenKilledAtRandomMoments) {
  const int kills = static_cast<int>(FromEnvironment("WDELTA_CRASH_KILLS", kDefaultKills));
  std::printf("%d kills, WDELTA_CRASH_SEED=%u\n", kills, seed_);
  const absl::Time begin = absl::Now();
  absl::Duration slowest_start;
  uint64_t acknowledged_count = 0;
  for (int done = 0, folder = 0; done < kills; ++folder) {
    Store store(seed_ + static_cast<uint32_t>(folder));
    for (const int end = std::min(kills, done + kKillsPerFolder); done < end; ++done) {
      SCOPED_TRACE(absl::StrCat("kill ", done, " of seed ", seed_));
      store.LiveAndBeKilled();
      if (HasFailure()) return;
    }
    SCOPED_TRACE(absl::StrCat("after kill ", done, " of seed ", seed_));
    store.DeleteAllAndStop();
    if (HasFailure()) return;
    slowest_start = std::max(slowest_start, store.slowest_start());
    acknowledged_count += store.acknowledged_count();
    std::printf("%d of %d kills, %.0f s\n", done, kills,
                absl::ToDoubleSeconds(absl::Now() - begin));
    std::fflush(stdout);
  }
  std::printf(
      "%d kills of seed %u in %.0f s: nothing lost of %llu acknowledged calls, slowest start %s\n",
      kills, seed_, absl::ToDoubleSeconds(absl::Now() - begin),
      static_cast<unsigned long long>(acknowledged_count),
      absl::FormatDuration(slowest_start).c_str());
}

TEST_F(CrashTest, NothingAcknowledgedIsLostAtAnyFailpoint) {
  std::printf("WDELTA_CRASH_SEED=%u\n", seed_);
  std::mt19937 random(seed_);
  Store store(seed_);
  int reached_count = 0;
  for (const absl::string_view name : kFailpoints) {
    // The first call of the workers, and one that comes later.
    for (const uint32_t count : {1u, 2 + static_cast<uint32_t>(random() % 6)}) {
      const std::string failpoint = absl::StrCat(name, ":", count);
      SCOPED_TRACE(failpoint);
      bool is_reached = false;
      for (int i = 0; i < 3 && !is_reached; ++i) is_reached = store.LiveUntil(failpoint);
      EXPECT_TRUE(is_reached);
      reached_count += is_reached ? 1 : 0;
      (void)store.StartAndCheck();
      if (HasFailure()) return;
    }
    std::printf("%s\n", std::string(name).c_str());
    std::fflush(stdout);
  }
  store.DeleteAllAndStop();
  if (HasFailure()) return;
  std::printf("killed at %d failpoints: nothing lost of %llu acknowledged calls\n", reached_count,
              static_cast<unsigned long long>(store.acknowledged_count()));
}

// Whoever waits for it goes on, and the test fails.
TEST_F(CrashTest, ADaemonThatHangsIsKilled) {
  EXPECT_NONFATAL_FAILURE_ON_ALL_THREADS(
      {
        const TempFolder folder;
        Victim victim(folder / "data", "", absl::Milliseconds(200));
        victim.Hang();
        EXPECT_EQ(victim.Stop(), 128 + SIGKILL);
      },
      "the daemon hangs");
}

}  // namespace
}  // namespace wdelta::testing

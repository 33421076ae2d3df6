// 64 clients do everything at once against a daemon that is killed now and then: no error but
// the announced ones, no lost or changed model, memory within the limit, nothing left over.
// WDELTA_SOAK_SECONDS and WDELTA_SOAK_SEED choose how long, and with which random calls;
// `./dev soak` sets them.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "tests/crash/crash_checks.h"
#include "tests/crash/truth.h"
#include "tests/soak/soak_daemon.h"
#include "tests/soak/soak_tally.h"
#include "tests/soak/soak_worker.h"
#include "tests/support/temp_folder.h"
#include "tests/support/test_seed.h"

namespace wdelta::testing {
namespace {

constexpr uint32_t kDefaultSeconds = 6;
constexpr int kClients = 64;
#ifdef WDELTA_SANITIZED
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif
constexpr uint64_t kMemoryLimitBytes = 256 * limits::kMiB;
constexpr uint64_t kMaxRssBytes = kMemoryLimitBytes / 10 * 11;
constexpr absl::Duration kLifeTime = absl::Minutes(2);  // at most, on the average
constexpr absl::Duration kLookInterval = absl::Milliseconds(200);
// Of an empty store: databases keep a write-ahead log and files that wait for compaction.
constexpr uint64_t kMaxEmptyBytes = 64 * limits::kMiB;

uint32_t FromEnvironment(const char* name, uint32_t otherwise) {
  const char* const text = std::getenv(name);
  uint32_t value = 0;
  return text != nullptr && absl::SimpleAtoi(text, &value) ? value : otherwise;
}

uint64_t DiskBytes(const std::string& folder) {
  uint64_t bytes = 0;
  std::error_code error;  // files go while it looks
  std::filesystem::recursive_directory_iterator entry(folder, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    std::error_code gone;
    const uint64_t size_bytes = entry->is_regular_file(gone) ? entry->file_size(gone) : 0;
    if (!gone) bytes += size_bytes;
  }
  return bytes;
}

class SoakTest : public ::testing::Test {
 protected:
  SoakTest() : daemon_(folder_.path(), kMemoryLimitBytes) {
    shared_.daemon = &daemon_;
    shared_.truth = &truth_;
    shared_.tally = &tally_;
  }

  // Clients at work, the daemon killed in between. Time is what it is about: hence the sleeps.
  void LiveFor(absl::Duration time, std::mt19937& random) {
    std::vector<std::unique_ptr<SoakWorker>> workers;
    std::vector<std::thread> threads;
    for (int i = 0; i < kClients; ++i) {
      workers.push_back(std::make_unique<SoakWorker>(i, random(), &shared_));
      threads.emplace_back([worker = workers.back().get()] { worker->Run(); });
    }
    const absl::Time end = absl::Now() + time;
    const absl::Duration life_time = std::min(kLifeTime, time / 3);
    const auto next_life = [&] { return life_time * (75 + random() % 51) / 100; };
    absl::Time kill = absl::Now() + next_life();
    bool is_up = true;
    while (is_up && absl::Now() < end && !HasFailure()) {
      absl::SleepFor(kLookInterval);
      daemon_.PeakRssBytes();
      if (absl::Now() < kill) continue;
      max_disk_bytes_ = std::max(max_disk_bytes_, DiskBytes(daemon_.data_dir()));
      daemon_.Kill();
      is_up = daemon_.Start();
      ++kills_;
      kill = absl::Now() + next_life();
      std::printf("%d kills, %lu calls\n", kills_, static_cast<unsigned long>(tally_.attempts()));
      std::fflush(stdout);
    }
    shared_.is_over = true;
    for (std::thread& thread : threads) thread.join();
  }

  const TempFolder folder_;
  SoakDaemon daemon_;
  Truth truth_;
  SoakTally tally_;
  SoakShared shared_;
  int kills_ = 0;
  uint64_t max_disk_bytes_ = 0;
};

TEST_F(SoakTest, NothingIsLostAndNothingLeaksUnderLoad) {
  if (kIsSanitized && std::getenv("WDELTA_SOAK_SECONDS") == nullptr) {
    GTEST_SKIP() << "a sanitizer's daemon has another memory and another pace";
  }
  const uint32_t seconds = FromEnvironment("WDELTA_SOAK_SECONDS", kDefaultSeconds);
  const uint32_t seed = FromEnvironment("WDELTA_SOAK_SEED", TestSeed());
  std::printf("%d clients, %u s, WDELTA_SOAK_SEED=%u\n", kClients, seconds, seed);
  std::fflush(stdout);
  std::mt19937 random(seed);
  ASSERT_TRUE(daemon_.Start());
  LiveFor(absl::Seconds(seconds), random);
  std::printf("\n%s\n", tally_.Table().c_str());
  std::fflush(stdout);
  if (HasFatalFailure()) return;

  const size_t models = truth_.Models().size();
  SettleAndCheck(daemon_.NewChannel(), truth_);
  const uint64_t full_bytes = DiskBytes(daemon_.data_dir());
  max_disk_bytes_ = std::max(max_disk_bytes_, full_bytes);
  DeleteAll(daemon_.NewChannel(), truth_);
  const uint64_t peak_rss_bytes = daemon_.PeakRssBytes();
  EXPECT_EQ(daemon_.Stop(), 0) << daemon_.output();
  const uint64_t empty_bytes = DiskBytes(daemon_.data_dir());
  std::printf("%d kills; %zu models checked at the end\n", kills_, models);
  std::printf("peak RSS %.1f MiB of --memory_limit=%.0f MiB\n",
              static_cast<double>(peak_rss_bytes) / limits::kMiB,
              static_cast<double>(kMemoryLimitBytes) / limits::kMiB);
  std::printf("disk: %.1f MiB at most, %.1f MiB with all models, %.1f MiB after deletes and gc\n",
              static_cast<double>(max_disk_bytes_) / limits::kMiB,
              static_cast<double>(full_bytes) / limits::kMiB,
              static_cast<double>(empty_bytes) / limits::kMiB);
  EXPECT_LE(peak_rss_bytes, kMaxRssBytes);
  EXPECT_LE(empty_bytes, kMaxEmptyBytes);
  ExpectEmptyDataDir(daemon_.data_dir());
  // In a long run each kind of call comes often enough; one never succeeds.
  if (seconds >= 60) {
    EXPECT_EQ(absl::StrJoin(tally_.NeverDone(), ", "), "push, no such parent");
  }
}

}  // namespace
}  // namespace wdelta::testing

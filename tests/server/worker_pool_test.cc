#include "server/jobs/worker_pool.h"

#include <atomic>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "spdlog/sinks/null_sink.h"
#include "spdlog/sinks/ostream_sink.h"
#include "storage/base/clock.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/memory_catalog.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;

// A catalog whose watches fail as often as asked.
class FlakyCatalog final : public Catalog {
 public:
  absl::StatusOr<std::optional<Record>> Get(absl::string_view key) override {
    return inner_.Get(key);
  }
  absl::StatusOr<ScanPage> Scan(const ScanRequest& request) override {
    return inner_.Scan(request);
  }
  absl::StatusOr<uint64_t> Apply(const Commit& commit) override { return inner_.Apply(commit); }
  absl::StatusOr<uint64_t> CurrentRevision() override { return inner_.CurrentRevision(); }
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(std::string prefix, uint64_t after) override {
    if (failures.fetch_sub(1) > 0) return absl::UnavailableError("down");
    return inner_.Watch(std::move(prefix), after);
  }
  std::atomic<int> failures{0};

 private:
  MemoryCatalog inner_;
};

class WorkerPoolTest : public ::testing::Test {
 protected:
  std::string AddJob() {
    Commit commit;
    store::v1::ModelRecord model;
    model.set_id("m");
    const std::string id = queue_.AddTo(commit, JobRecord::INGEST, model);
    EXPECT_TRUE(catalog_.Apply(commit).ok());
    return id;
  }
  absl::Status End(const Job& job) {
    Commit commit;
    queue_.AddEnd(commit, job, JobRecord::SUCCEEDED, "");
    return catalog_.Apply(commit).status();
  }

  SystemClock clock_;
  FlakyCatalog catalog_;
  IdGenerator ids_{&clock_};
  JobQueue queue_{&catalog_, &ids_, &clock_, "test"};
  spdlog::logger log_{"test", std::make_shared<spdlog::sinks::null_sink_mt>()};
};

TEST_F(WorkerPoolTest, RunsJobsAddedBeforeAndAfterItsStart) {
  const std::string before = AddJob();
  absl::Notification ran_before, ran_after;
  WorkerPool pool(
      &queue_,
      [&](Job job, std::function<bool()>) {
        const absl::Status status = End(job);
        (job.record.id() == before ? ran_before : ran_after).Notify();
        return status;
      },
      2, &log_);
  ran_before.WaitForNotification();
  const std::string after = AddJob();
  ran_after.WaitForNotification();
  EXPECT_EQ(queue_.Get(before)->record.state(), JobRecord::SUCCEEDED);
  EXPECT_EQ(queue_.Get(after)->record.state(), JobRecord::SUCCEEDED);
}

TEST_F(WorkerPoolTest, OutlivesFailingJobsAndAFailingCatalog) {
  catalog_.failures = 1;
  AddJob();
  AddJob();
  std::atomic<int> runs{0};
  absl::Notification ran_both;
  WorkerPool pool(
      &queue_,
      [&](Job job, std::function<bool()>) -> absl::Status {
        WDELTA_RETURN_IF_ERROR(End(job));
        if (runs.fetch_add(1) == 1) ran_both.Notify();
        return absl::InternalError("this job failed");
      },
      1, &log_);
  ran_both.WaitForNotification();
}

TEST_F(WorkerPoolTest, StopIsSeenByARunningJobAndTheJobCanGoBack) {
  const std::string id = AddJob();
  absl::Notification running;
  {
    WorkerPool pool(
        &queue_,
        [&](Job job, std::function<bool()> stopping) {
          running.Notify();
          while (!stopping()) std::this_thread::yield();
          return queue_.PutBack(job, absl::ZeroDuration(), false, "");
        },
        1, &log_);
    running.WaitForNotification();
    pool.RequestStop();
  }
  EXPECT_EQ(queue_.Get(id)->record.state(), JobRecord::PENDING);
  EXPECT_EQ(queue_.Get(id)->record.attempts(), 0u);
}

TEST_F(WorkerPoolTest, AJobThatWaitsFillsNoLog) {
  std::ostringstream lines;
  spdlog::logger log("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines));
  log.set_pattern("%l %v");
  const std::string id = AddJob();
  absl::Notification done;
  int runs = 0;
  {
    WorkerPool pool(
        &queue_,
        [&](Job job, std::function<bool()>) -> absl::Status {
          const absl::Status waits =
              MakeError(absl::StatusCode::kUnavailable, "MODEL_IN_USE", "it is being fetched");
          if (++runs < 20) {
            WDELTA_RETURN_IF_ERROR(
                queue_.PutBack(job, absl::ZeroDuration(), false, waits.message()));
            return waits;
          }
          WDELTA_RETURN_IF_ERROR(End(job));
          done.Notify();
          return absl::OkStatus();
        },
        1, &log);
    done.WaitForNotification();
  }
  const std::vector<std::string> found = absl::StrSplit(lines.str(), '\n', absl::SkipEmpty());
  ASSERT_EQ(found.size(), 3u) << lines.str();
  EXPECT_EQ(found[0], absl::StrCat("info job ", id, ": INGEST of model m () begins, attempt 1"));
  EXPECT_THAT(found[1], ::testing::HasSubstr("waits: UNAVAILABLE: it is being fetched"));
  EXPECT_THAT(found[2], ::testing::HasSubstr("done in"));
}

TEST_F(WorkerPoolTest, IdleThreadsStopAtOnce) {
  WorkerPool pool(
      &queue_, [](Job, std::function<bool()>) { return absl::OkStatus(); }, 4, &log_);
}

}  // namespace
}  // namespace wdelta

#include "server/rpc/job_watch_reactor.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "server/rpc/convert.h"
#include "server/rpc/rpc_call.h"
#include "server/rpc/status_map.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

// How soon a drain is noticed.
constexpr absl::Duration kDrainCheckInterval = absl::Milliseconds(500);

// The watching thread's last act is Finish, so it is never here when OnDone comes.
class JobWatchReactor final : public grpc::ServerWriteReactor<v1::Job> {
 public:
  JobWatchReactor(RpcEnvironment* environment, grpc::CallbackServerContext* context,
                  const v1::WatchJobRequest* request)
      : environment_(*environment),
        request_(*request),
        token_(environment->active_calls().Enter()),
        call_(environment, "Jobs.WatchJob", context),
        slot_(environment->watches().TryEnter()) {
    if (!call_.access().ok()) {
      End(call_.access());
      return;
    }
    if (!slot_.has_value()) {
      End(MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_WATCHES",
                    absl::StrCat("expected at most ", environment->watches().limit(),
                                 " watches at once; try later")));
      return;
    }
    environment_.ScheduleWatch([this] { End(WatchToEnd()); });
  }

  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    write_in_flight_ = false;
    if (!ok) cancelled_ = true;
  }

  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    if (watcher_ != nullptr) watcher_->Stop();
  }

  void OnDone() override { delete this; }

 private:
  absl::Status WatchToEnd() {
    WDELTA_RETURN_IF_ERROR(call_.CheckRequest(request_));
    WDELTA_RETURN_IF_ERROR(NewWatcher());
    uint64_t sent_version = 0;
    while (true) {
      // Read after the watcher was made: no change falls between the two.
      WDELTA_ASSIGN_OR_RETURN(const Job job, environment_.store().jobs().Get(request_.job()));
      if (job.version != sent_version) {
        WDELTA_RETURN_IF_ERROR(Send(job));
        sent_version = job.version;
      }
      if (HasEnded(job.record)) return absl::OkStatus();
      WDELTA_RETURN_IF_ERROR(WaitForChange());
    }
  }

  absl::Status NewWatcher() ABSL_LOCKS_EXCLUDED(mutex_) {
    WDELTA_ASSIGN_OR_RETURN(std::unique_ptr<Watcher> watcher,
                            environment_.store().jobs().Watch(request_.job()));
    absl::MutexLock lock(&mutex_);
    watcher_ = std::move(watcher);
    return absl::OkStatus();
  }

  absl::Status Send(const Job& job) ABSL_LOCKS_EXCLUDED(mutex_) {
    message_ = ToProto(job.record);
    {
      absl::MutexLock lock(&mutex_);
      if (cancelled_) return GoneError();
      write_in_flight_ = true;
    }
    StartWrite(&message_);
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &JobWatchReactor::IsIdle));
    return cancelled_ ? GoneError() : absl::OkStatus();
  }

  absl::Status WaitForChange() ABSL_LOCKS_EXCLUDED(mutex_) {
    while (true) {
      WDELTA_RETURN_IF_ERROR(environment_.CheckServing());
      // Only this thread replaces the watcher.
      Watcher* watcher = nullptr;
      {
        absl::MutexLock lock(&mutex_);
        if (cancelled_) return GoneError();
        watcher = watcher_.get();
      }
      const absl::StatusOr<std::vector<Change>> changes =
          watcher->Next(absl::Now() + kDrainCheckInterval);
      if (absl::IsOutOfRange(changes.status())) return NewWatcher();  // lagged: read anew
      WDELTA_RETURN_IF_ERROR(changes.status());
      if (!changes->empty()) return absl::OkStatus();
    }
  }

  bool IsIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !write_in_flight_; }

  static absl::Status GoneError() { return absl::CancelledError("the client went away"); }

  void End(const absl::Status& status) {
    slot_.reset();  // whoever hears of the end may come again
    call_.Done(status);
    Finish(ToGrpcStatus(status));
  }

  RpcEnvironment& environment_;
  const v1::WatchJobRequest& request_;
  const ActiveCalls::Token token_;
  RpcCall call_;
  std::optional<Admission::Slot> slot_;
  v1::Job message_;

  absl::Mutex mutex_;
  std::unique_ptr<Watcher> watcher_ ABSL_GUARDED_BY(mutex_);
  bool write_in_flight_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerWriteReactor<v1::Job>* StartJobWatchReactor(RpcEnvironment* environment,
                                                        grpc::CallbackServerContext* context,
                                                        const v1::WatchJobRequest* request) {
  return new JobWatchReactor(environment, context, request);
}

}  // namespace wdelta

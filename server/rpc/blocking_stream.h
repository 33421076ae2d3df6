// A stream whose messages come from code that may block, in a thread of its own.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc/rpc_call.h"
#include "server/rpc/rpc_environment.h"
#include "server/rpc/status_map.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {

// One write in flight. A client that takes none of it for RpcOptions::max_write_wait is
// given up, as it holds a thread and a slot. Owns itself and goes with its call. The thread's last
// act is Finish, so it is never here when OnDone comes.
template <typename Response>
class BlockingStream final : public grpc::ServerWriteReactor<Response> {
 public:
  // Runs in the stream's thread; its status ends the call. The request lives as long.
  using Body = std::function<absl::Status(BlockingStream&)>;

  // Takes a slot of the environment's comparisons. `body` is called if the caller may make the
  // request, which must live as long as the call.
  BlockingStream(RpcEnvironment* environment, std::string_view method,
                 grpc::CallbackServerContext* context, const google::protobuf::Message* request,
                 Body body)
      : environment_(*environment),
        context_(*context),
        token_(environment->active_calls().Enter()),
        call_(environment, method, context),
        slot_(environment->comparisons().TryEnter()) {
    if (!call_.access().ok()) {
      End(call_.access());
      return;
    }
    if (!slot_.has_value()) {
      End(MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_COMPARISONS",
                    absl::StrCat("expected at most ", environment->comparisons().limit(),
                                 " comparisons at once; try later")));
      return;
    }
    environment_.ScheduleComparison(
        [this, request, body = std::move(body)] { End(Run(*request, body)); });
  }

  // Of the stream's thread. CANCELLED when the client went away, UNAVAILABLE (`STOPPING`)
  // when the server drains.
  absl::Status CheckAlive() ABSL_LOCKS_EXCLUDED(mutex_) {
    {
      absl::MutexLock lock(&mutex_);
      if (is_cancelled_) return GoneError();
    }
    return environment_.CheckServing();
  }

  // Likewise. Blocks until the message is written. DEADLINE_EXCEEDED (`SLOW_READER`), for the
  // log, when the client does not take it: the call is cancelled then.
  absl::Status Send(Response message) ABSL_LOCKS_EXCLUDED(mutex_) {
    message_ = std::move(message);
    {
      absl::MutexLock lock(&mutex_);
      if (is_cancelled_) return GoneError();
      write_in_flight_ = true;
    }
    this->StartWrite(&message_);
    absl::MutexLock lock(&mutex_);
    const absl::Duration max_wait = environment_.options().max_write_wait;
    if (!mutex_.AwaitWithTimeout(absl::Condition(this, &BlockingStream::IsIdle), max_wait)) {
      is_cancelled_ = true;
      context_.TryCancel();  // ends the write
      mutex_.Await(absl::Condition(this, &BlockingStream::IsIdle));
      return MakeError(
          absl::StatusCode::kDeadlineExceeded, "SLOW_READER",
          absl::StrCat("the client took no message for ", absl::FormatDuration(max_wait)));
    }
    return is_cancelled_ ? GoneError() : absl::OkStatus();
  }

  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    write_in_flight_ = false;
    if (!ok) is_cancelled_ = true;
  }

  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    is_cancelled_ = true;
  }

  void OnDone() override { delete this; }

 private:
  absl::Status Run(const google::protobuf::Message& request, const Body& body) {
    WDELTA_RETURN_IF_ERROR(call_.CheckRequest(request));
    return body(*this);
  }

  static absl::Status GoneError() { return absl::CancelledError("the client went away"); }
  bool IsIdle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !write_in_flight_; }

  void End(const absl::Status& status) {
    slot_.reset();  // whoever hears of the end may come again
    call_.Done(status);
    this->Finish(ToGrpcStatus(status));
  }

  RpcEnvironment& environment_;
  grpc::CallbackServerContext& context_;
  const ActiveCalls::Token token_;
  RpcCall call_;
  std::optional<Admission::Slot> slot_;
  Response message_;

  absl::Mutex mutex_;
  bool write_in_flight_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace wdelta

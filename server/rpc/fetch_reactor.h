// Streams the messages of a producer to the client.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc/fetch_producers.h"
#include "server/rpc/rpc_call.h"
#include "server/rpc/rpc_environment.h"
#include "storage/base/error.h"

namespace wdelta {

// One write in flight. Three kinds of threads come here: the pool thread that opens
// the producer, decoding threads that wake the stream, and gRPC's. The first two
// hold a reference, gRPC's is given up in OnDone, and after Finish nobody touches
// gRPC any more: so whoever is late finds a live object with nothing to do.
template <typename Response>
class FetchReactor final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                           public std::enable_shared_from_this<FetchReactor<Response>> {
 public:
  using Producer = FetchProducer<Response>;
  // An error of `check_alive` ends the opening: the client went away.
  using CheckAlive = std::function<absl::Status()>;
  using Opener = absl::AnyInvocable<absl::StatusOr<std::unique_ptr<Producer>>(
      RpcCall& call, const CheckAlive& check_alive)>;

  // `open` asks the call about its request, and runs in a pool thread. The reactor owns itself and
  // goes with its rpc.
  static FetchReactor* Start(RpcEnvironment* environment, std::string_view method,
                             grpc::CallbackServerContext* context, Opener open) {
    std::shared_ptr<FetchReactor> reactor(new FetchReactor(environment, method, context));
    FetchReactor* const raw = reactor.get();
    raw->self_ = reactor;
    if (const absl::Status admitted = raw->CheckAdmission(*environment); !admitted.ok()) {
      absl::MutexLock lock(&raw->mutex_);
      raw->End(admitted);
      return raw;
    }
    environment->ScheduleOpening(
        [reactor = std::move(reactor), open = std::move(open)]() mutable { reactor->Open(open); });
    return raw;
  }

  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    write_in_flight_ = false;
    buffer_.Clear();  // its memory is free for the next piece
    if (!ok) cancelled_ = true;
    Pump();
  }

  void OnCancel() override ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    Pump();
  }

  // Late holders may outlive the environment, so what is its own is given back here.
  void OnDone() override {
    token_.reset();
    std::exchange(self_, nullptr);
  }

 private:
  FetchReactor(RpcEnvironment* environment, std::string_view method,
               grpc::CallbackServerContext* context)
      : context_(*context),
        token_(environment->active_calls().Enter()),
        call_(environment, method, context),
        slot_(environment->fetches().TryEnter()),
        stats_(environment->stats()),
        buffers_(environment->store().reader().buffers()) {}

  absl::Status CheckAdmission(RpcEnvironment& environment) const {
    if (!call_.access().ok()) return call_.access();
    if (slot_.has_value()) return environment.CheckServing();
    return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_FETCHES",
                     absl::StrCat("expected at most ", environment.fetches().limit(),
                                  " fetches at once; try later"));
  }

  void Open(Opener& open) ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Status CheckWanted() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return cancelled_ ? GoneError() : absl::OkStatus();
  }
  static absl::Status GoneError() { return absl::CancelledError("the client went away"); }

  void Wake() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    Pump();
  }

  // Takes the next step that can be taken, if any.
  void Pump() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void End(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  grpc::CallbackServerContext& context_;  // until Finish
  std::optional<ActiveCalls::Token> token_;
  RpcCall call_;
  std::optional<Admission::Slot> slot_;
  RpcStats& stats_;                     // until Finish
  std::shared_ptr<FetchReactor> self_;  // gRPC's reference
  const std::shared_ptr<PieceBuffers> buffers_;

  absl::Mutex mutex_;
  std::unique_ptr<Producer> producer_ ABSL_GUARDED_BY(mutex_);  // null until open
  Response message_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer buffer_ ABSL_GUARDED_BY(mutex_);  // the message being written
  bool write_in_flight_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status slow_client_ ABSL_GUARDED_BY(mutex_);  // not OK: it is given up
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace wdelta

#include "server/rpc/fetch_reactor_steps.h"  // IWYU pragma: export

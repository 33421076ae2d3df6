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
#include "absl/synchronization/mutex.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc/fetch_producers.h"
#include "server/rpc/rpc_call.h"
#include "server/rpc/rpc_environment.h"

namespace wdelta {

// One write in flight. Four kinds of threads come here: those that give it a place or refuse it,
// the pool thread that opens the producer, decoding threads that wake the stream, and gRPC's. The
// others hold a reference, gRPC's is given up in OnDone, and after Finish nobody touches
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

  // `open` asks the call about its request, and runs in a pool thread once there is a place for
  // the fetch; `request_bytes` are in memory until then. The reactor owns itself and goes with its
  // rpc.
  static FetchReactor* Start(RpcEnvironment* environment, std::string_view method,
                             grpc::CallbackServerContext* context, uint64_t request_bytes,
                             Opener open) {
    std::shared_ptr<FetchReactor> reactor(new FetchReactor(environment, method, context));
    FetchReactor* const raw = reactor.get();
    raw->self_ = reactor;
    if (const absl::Status allowed = raw->CheckAllowed(*environment); !allowed.ok()) {
      raw->Refuse(allowed);
      return raw;
    }
    // May be called where another fetch ends, under its lock: takes none of this one then.
    auto go_on = [environment, reactor = std::move(reactor),
                  open = std::move(open)](absl::StatusOr<AdmissionQueue::Slot> slot) mutable {
      if (!slot.ok()) {
        reactor->Refuse(slot.status());
        return;
      }
      environment->ScheduleOpening(
          [reactor = std::move(reactor), open = std::move(open),
           slot = *std::move(slot)]() mutable { reactor->Open(std::move(slot), open); });
    };
    raw->ticket_ = raw->places_.Enter(request_bytes, std::move(go_on));
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
    const bool has_waited = places_.Leave(ticket_);
    absl::MutexLock lock(&mutex_);
    cancelled_ = true;
    if (has_waited) {
      End(GoneError());
    } else {
      Pump();
    }
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
        places_(environment->fetches()),
        stats_(environment->stats()),
        buffers_(environment->store().reader().buffers()) {}

  absl::Status CheckAllowed(const RpcEnvironment& environment) const {
    return call_.access().ok() ? environment.CheckServing() : call_.access();
  }

  void Refuse(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    End(status);
  }

  void Open(AdmissionQueue::Slot slot, Opener& open) ABSL_LOCKS_EXCLUDED(mutex_);

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
  AdmissionQueue& places_;  // until OnDone
  AdmissionQueue::Ticket ticket_ = AdmissionQueue::kNoTicket;
  RpcStats& stats_;                     // until Finish
  std::shared_ptr<FetchReactor> self_;  // gRPC's reference
  const std::shared_ptr<PieceBuffers> buffers_;

  absl::Mutex mutex_;
  std::optional<AdmissionQueue::Slot> slot_ ABSL_GUARDED_BY(mutex_);
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

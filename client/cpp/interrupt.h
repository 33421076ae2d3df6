// Lets one thread break off what another does over gRPC: Ctrl-C, say.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"

namespace wdelta {

// Any thread may call it. For one call at a time.
class Interrupt {
 public:
  Interrupt() = default;
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // For good: cancels the call that is going on, and those that follow.
  void Trigger() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    triggered_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }
  bool IsTriggered() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return triggered_;
  }
  // Sleeps, unless or until triggered.
  void Sleep(absl::Duration duration) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&triggered_), duration);
  }

  // Puts a call under an interrupt, null for none, while it lives. Make it before the
  // call begins; the context must outlive it.
  class Scope {
   public:
    Scope(Interrupt* interrupt, grpc::ClientContext* context) : interrupt_(interrupt) {
      if (interrupt_ != nullptr) interrupt_->Set(context);
    }
    ~Scope() {
      if (interrupt_ != nullptr) interrupt_->Set(nullptr);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Interrupt* const interrupt_;
  };

 private:
  void Set(grpc::ClientContext* context) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    context_ = context;
    if (triggered_ && context_ != nullptr) context_->TryCancel();
  }

  mutable absl::Mutex mutex_;
  bool triggered_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace wdelta

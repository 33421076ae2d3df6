// What ThreadSanitizer must know of Abseil's locks and counts, whose library is not instrumented:
// these stand before the library's own functions, which they call, and tell who synchronises
// with whom. Linked into tests under TSan only.
//
// Readers are told of as if they were writers, so that a race between two readers of one lock
// that both write goes unseen. Conditions are evaluated inside the library, by whichever
// thread has the lock just then; what they read is not looked at.
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
}

namespace {

class IgnoreReads {
 public:
  IgnoreReads() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~IgnoreReads() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
  IgnoreReads(const IgnoreReads&) = delete;
  IgnoreReads& operator=(const IgnoreReads&) = delete;
};

template <typename Function>
Function* Find(const char* name) {
  void* const found = dlsym(RTLD_NEXT, name);
  if (found == nullptr) {
    std::fprintf(stderr, "tsan_sync: libabsl has no %s\n", name);
    std::abort();
  }
  return reinterpret_cast<Function*>(found);
}

// A call of the library's own function, found by its mangled name.
template <typename Result, typename... Arguments>
class Real {
 public:
  explicit Real(const char* name) : function_(Find<Result(Arguments...)>(name)) {}
  Result operator()(Arguments... arguments) const {
    const IgnoreReads ignore_reads;
    return function_(arguments...);
  }

 private:
  Result (*const function_)(Arguments...);
};

}  // namespace

#define WDELTA_ABSL(name) "_ZN4absl7debian3" name
#define WDELTA_ABSL_CONST(name) "_ZNK4absl7debian3" name

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static const Real<void, Mutex*> real(WDELTA_ABSL("5Mutex4LockEv"));
  real(this);
  __tsan_acquire(this);
}

void Mutex::ReaderLock() {
  static const Real<void, Mutex*> real(WDELTA_ABSL("5Mutex10ReaderLockEv"));
  real(this);
  __tsan_acquire(this);
}

void Mutex::Unlock() {
  static const Real<void, Mutex*> real(WDELTA_ABSL("5Mutex6UnlockEv"));
  __tsan_release(this);
  real(this);
}

void Mutex::ReaderUnlock() {
  static const Real<void, Mutex*> real(WDELTA_ABSL("5Mutex12ReaderUnlockEv"));
  __tsan_release(this);
  real(this);
}

bool Mutex::TryLock() {
  static const Real<bool, Mutex*> real(WDELTA_ABSL("5Mutex7TryLockEv"));
  const bool is_locked = real(this);
  if (is_locked) __tsan_acquire(this);
  return is_locked;
}

bool Mutex::ReaderTryLock() {
  static const Real<bool, Mutex*> real(WDELTA_ABSL("5Mutex13ReaderTryLockEv"));
  const bool is_locked = real(this);
  if (is_locked) __tsan_acquire(this);
  return is_locked;
}

void Mutex::LockWhen(const Condition& condition) {
  static const Real<void, Mutex*, const Condition&> real(
      WDELTA_ABSL("5Mutex8LockWhenERKNS0_9ConditionE"));
  real(this, condition);
  __tsan_acquire(this);
}

bool Mutex::LockWhenWithTimeout(const Condition& condition, Duration timeout) {
  static const Real<bool, Mutex*, const Condition&, Duration> real(
      WDELTA_ABSL("5Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE"));
  const bool is_true = real(this, condition, timeout);
  __tsan_acquire(this);
  return is_true;
}

bool Mutex::LockWhenWithDeadline(const Condition& condition, Time deadline) {
  static const Real<bool, Mutex*, const Condition&, Time> real(
      WDELTA_ABSL("5Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE"));
  const bool is_true = real(this, condition, deadline);
  __tsan_acquire(this);
  return is_true;
}

void Mutex::ReaderLockWhen(const Condition& condition) {
  static const Real<void, Mutex*, const Condition&> real(
      WDELTA_ABSL("5Mutex14ReaderLockWhenERKNS0_9ConditionE"));
  real(this, condition);
  __tsan_acquire(this);
}

void Mutex::Await(const Condition& condition) {
  static const Real<void, Mutex*, const Condition&> real(
      WDELTA_ABSL("5Mutex5AwaitERKNS0_9ConditionE"));
  __tsan_release(this);
  real(this, condition);
  __tsan_acquire(this);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  static const Real<bool, Mutex*, const Condition&, Duration> real(
      WDELTA_ABSL("5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE"));
  __tsan_release(this);
  const bool is_true = real(this, condition, timeout);
  __tsan_acquire(this);
  return is_true;
}

bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  static const Real<bool, Mutex*, const Condition&, Time> real(
      WDELTA_ABSL("5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE"));
  __tsan_release(this);
  const bool is_true = real(this, condition, deadline);
  __tsan_acquire(this);
  return is_true;
}

void CondVar::Wait(Mutex* mutex) {
  static const Real<void, CondVar*, Mutex*> real(WDELTA_ABSL("7CondVar4WaitEPNS0_5MutexE"));
  __tsan_release(mutex);
  real(this, mutex);
  __tsan_acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static const Real<bool, CondVar*, Mutex*, Duration> real(
      WDELTA_ABSL("7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE"));
  __tsan_release(mutex);
  const bool is_late = real(this, mutex, timeout);
  __tsan_acquire(mutex);
  return is_late;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static const Real<bool, CondVar*, Mutex*, Time> real(
      WDELTA_ABSL("7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE"));
  __tsan_release(mutex);
  const bool is_late = real(this, mutex, deadline);
  __tsan_acquire(mutex);
  return is_late;
}

// HasBeenNotified reads the flag that lies behind the mutex in instrumented code.
void Notification::Notify() {
  static const Real<void, Notification*> real(WDELTA_ABSL("12Notification6NotifyEv"));
  __tsan_release(reinterpret_cast<char*>(this) + sizeof(Mutex));
  real(this);
}

void Notification::WaitForNotification() const {
  static const Real<void, const Notification*> real(
      WDELTA_ABSL_CONST("12Notification19WaitForNotificationEv"));
  real(this);
  __tsan_acquire(reinterpret_cast<char*>(const_cast<Notification*>(this)) + sizeof(Mutex));
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  static const Real<bool, const Notification*, Duration> real(
      WDELTA_ABSL_CONST("12Notification30WaitForNotificationWithTimeoutENS0_8DurationE"));
  const bool is_notified = real(this, timeout);
  __tsan_acquire(reinterpret_cast<char*>(const_cast<Notification*>(this)) + sizeof(Mutex));
  return is_notified;
}

bool BlockingCounter::DecrementCount() {
  static const Real<bool, BlockingCounter*> real(
      WDELTA_ABSL("15BlockingCounter14DecrementCountEv"));
  __tsan_release(this);
  return real(this);
}

void BlockingCounter::Wait() {
  static const Real<void, BlockingCounter*> real(WDELTA_ABSL("15BlockingCounter4WaitEv"));
  real(this);
  __tsan_acquire(this);
}

// The count of references to a shared Status is taken down inside the library; who takes it to
// nothing frees what the others have read.
void Status::UnrefNonInlined(uintptr_t rep) {
  static const Real<void, uintptr_t> real(WDELTA_ABSL("6Status15UnrefNonInlinedEm"));
  void* const count = reinterpret_cast<void*>(rep & ~uintptr_t{3});
  __tsan_release(count);
  __tsan_acquire(count);
  real(rep);
}

ABSL_NAMESPACE_END
}  // namespace absl

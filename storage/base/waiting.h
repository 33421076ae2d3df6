// Waiting for other threads as a dependency, so that a simulation, in which one thread runs at a
// time, lets the others run meanwhile.
#pragma once

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace wdelta {

// Any thread may call it.
class Waiting {
 public:
  virtual ~Waiting() = default;
  // Returns when `condition` holds. The caller holds `mutex` before and after; meanwhile it is
  // free.
  virtual void Await(absl::Mutex& mutex, const absl::Condition& condition)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) = 0;
};

}  // namespace wdelta

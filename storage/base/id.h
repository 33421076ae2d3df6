// Ids of models, uploads and jobs: unique, and ordered by creation time as text.
#pragma once

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"

namespace wdelta {

inline constexpr int kIdChars = 26;

// Makes ids of 26 characters of Crockford's base 32 in lower case: 48 bits of
// milliseconds, then 80 random bits (the ULID layout). Ids of one generator are
// strictly increasing. Any thread may call it. Does not own the clock.
class IdGenerator {
 public:
  explicit IdGenerator(const Clock* clock) : clock_(clock) {}
  std::string Next() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const Clock* const clock_;
  absl::Mutex mutex_;
  absl::BitGen random_ ABSL_GUARDED_BY(mutex_);
  std::string last_ ABSL_GUARDED_BY(mutex_);
};

bool IsWellFormedId(absl::string_view id);

// When a well-formed id was made, to the millisecond.
absl::Time TimeOfId(absl::string_view id);

}  // namespace wdelta

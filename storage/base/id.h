// Ids of models, uploads and jobs: unique, and ordered by creation time as text.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

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
  // Of random bits; called by one thread at a time.
  using RandomSource = std::function<uint64_t()>;

  // Null `random`: bits that nobody can tell before.
  explicit IdGenerator(const Clock* clock, RandomSource random = nullptr)
      : clock_(clock), random_(std::move(random)) {}
  std::string Next() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const Clock* const clock_;
  absl::Mutex mutex_;
  uint64_t RandomDigit() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const RandomSource random_ ABSL_GUARDED_BY(mutex_);
  absl::BitGen unpredictable_ ABSL_GUARDED_BY(mutex_);
  std::string last_ ABSL_GUARDED_BY(mutex_);
};

bool IsWellFormedId(absl::string_view id);

// When a well-formed id was made, to the millisecond.
absl::Time TimeOfId(absl::string_view id);

}  // namespace wdelta

// Time as a dependency, so that tests own it.
#pragma once

#include "absl/time/time.h"

namespace wdelta {

// Any thread may call it.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() const = 0;
};

class SystemClock final : public Clock {
 public:
  absl::Time Now() const override;
};

}  // namespace wdelta

#include "storage/base/clock.h"

#include "absl/time/clock.h"

namespace wdelta {

absl::Time SystemClock::Now() const { return absl::Now(); }

}  // namespace wdelta

// Clocks of the benchmarks.
#pragma once

#include <time.h>

namespace wdelta::bench {

inline double SecondsOn(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

inline double WallSeconds() { return SecondsOn(CLOCK_MONOTONIC); }

// CPU time of all threads of this program.
inline double ProcessSeconds() { return SecondsOn(CLOCK_PROCESS_CPUTIME_ID); }

// CPU time of this thread: other work on the machine delays us, but is not counted.
inline double ThreadSeconds() { return SecondsOn(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace wdelta::bench

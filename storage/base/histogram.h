// Counts of observed values by size, for whoever watches the process.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace wdelta {

// What a histogram has counted. One thread at a time.
struct HistogramCounts {
  explicit HistogramCounts(std::vector<double> bounds)
      : upper_bounds(std::move(bounds)), counts(upper_bounds.size() + 1) {}

  // Durations by a clock that was set back count as 0: sums never fall.
  void Add(double value) {
    value = std::max(value, 0.0);
    size_t bucket = 0;
    while (bucket < upper_bounds.size() && value > upper_bounds[bucket]) ++bucket;
    ++counts[bucket];
    ++total;
    sum += value;
  }

  std::vector<double> upper_bounds;  // ascending; each is the last value of its bucket
  std::vector<uint64_t> counts;      // of each bucket; the last one is that of all greater values
  uint64_t total = 0;
  double sum = 0;
};

// Of durations in seconds: from a millisecond to half an hour.
inline std::vector<double> DurationBoundsSeconds() {
  return {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
          1,     2.5,    5,     10,   30,    60,   300, 1800};
}

// Any thread may call it.
class Histogram {
 public:
  explicit Histogram(std::vector<double> upper_bounds) : counts_(std::move(upper_bounds)) {}

  void Add(double value) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    counts_.Add(value);
  }
  HistogramCounts Counts() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return counts_;
  }

 private:
  mutable absl::Mutex mutex_;
  HistogramCounts counts_ ABSL_GUARDED_BY(mutex_);
};

// A histogram for each key that was met; keys are few. Any thread may call it.
template <typename Key>
class HistogramsBy {
 public:
  using CountsByKey = std::map<Key, HistogramCounts>;

  explicit HistogramsBy(std::vector<double> upper_bounds)
      : upper_bounds_(std::move(upper_bounds)) {}

  void Add(const Key& key, double value) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    counts_.try_emplace(key, upper_bounds_).first->second.Add(value);
  }
  CountsByKey Counts() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return counts_;
  }

 private:
  const std::vector<double> upper_bounds_;
  mutable absl::Mutex mutex_;
  CountsByKey counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

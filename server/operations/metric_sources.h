// Who is asked at a scrape.
#pragma once

#include <functional>
#include <list>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/operations/metric_writer.h"

namespace wdelta {

// Any thread may call it. One scrape at a time; others wait.
class MetricSources {
 public:
  // Adds what a source knows. An error is told as a metric of its own, and the samples that were
  // added before it stay.
  using Collect = std::function<absl::Status(MetricWriter& writer)>;
  using Sources = std::list<std::pair<std::string, Collect>>;  // by name

  // A source is asked until this goes, which waits for the end of a scrape.
  class Registration {
   public:
    Registration(MetricSources* sources, Sources::iterator place)
        : sources_(sources), place_(place) {}
    Registration(Registration&& other) noexcept
        : sources_(std::exchange(other.sources_, nullptr)), place_(other.place_) {}
    Registration& operator=(Registration&&) = delete;
    ~Registration() {
      if (sources_ != nullptr) sources_->Remove(place_);
    }

   private:
    MetricSources* sources_;
    Sources::iterator place_;
  };

  // `name` is a word that stays the same.
  [[nodiscard]] Registration Add(std::string name, Collect collect) ABSL_LOCKS_EXCLUDED(mutex_);

  std::string Scrape() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Remove(Sources::iterator place) ABSL_LOCKS_EXCLUDED(mutex_);

  absl::Mutex mutex_;
  Sources sources_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

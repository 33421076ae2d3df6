#include "server/operations/metric_sources.h"

#include <utility>

namespace wdelta {

MetricSources::Registration MetricSources::Add(std::string name, Collect collect) {
  absl::MutexLock lock(&mutex_);
  return Registration(
      this, sources_.insert(sources_.end(), std::pair(std::move(name), std::move(collect))));
}

void MetricSources::Remove(Sources::iterator place) {
  absl::MutexLock lock(&mutex_);
  sources_.erase(place);
}

std::string MetricSources::Scrape() {
  MetricWriter writer;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [name, collect] : sources_) {
      const bool failed = !collect(writer).ok();
      writer.Add(MetricId::kScrapeFailed, failed ? 1 : 0, {{"source", name}});
    }
  }
  return writer.ToText();
}

}  // namespace wdelta

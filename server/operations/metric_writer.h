// The samples of one scrape, and their text.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "prometheus/metric_family.h"
#include "server/operations/metric_table.h"
#include "storage/base/histogram.h"

namespace wdelta {

// One thread at a time.
class MetricWriter {
 public:
  using Labels = std::vector<std::pair<const char*, std::string>>;

  MetricWriter();

  // Of a counter or a gauge.
  void Add(MetricId id, double value, const Labels& labels = {});
  // Of a histogram.
  void Add(MetricId id, const HistogramCounts& counts, const Labels& labels = {});

  // Prometheus' text format, version 0.0.4; metrics without samples are left out.
  std::string ToText() const;

 private:
  prometheus::ClientMetric& AddSample(MetricId id, const Labels& labels);

  std::vector<prometheus::MetricFamily> families_;  // by MetricId
};

}  // namespace wdelta

#include "server/operations/metric_writer.h"

#include <limits>

#include "prometheus/text_serializer.h"

namespace wdelta {
namespace {

prometheus::MetricType TypeOf(MetricKind kind) {
  switch (kind) {
    case MetricKind::kCounter:
      return prometheus::MetricType::Counter;
    case MetricKind::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricKind::kHistogram:
      break;
  }
  return prometheus::MetricType::Histogram;
}

}  // namespace

MetricWriter::MetricWriter() {
  families_.reserve(AllMetrics().size());
  for (const Metric& metric : AllMetrics()) {
    families_.push_back({metric.name, metric.help, TypeOf(metric.kind), {}});
  }
}

prometheus::ClientMetric& MetricWriter::AddSample(MetricId id, const Labels& labels) {
  prometheus::ClientMetric& sample = families_[static_cast<size_t>(id)].metric.emplace_back();
  for (const auto& [name, value] : labels) sample.label.push_back({name, value});
  return sample;
}

void MetricWriter::Add(MetricId id, double value, const Labels& labels) {
  prometheus::ClientMetric& sample = AddSample(id, labels);
  if (MetricOf(id).kind == MetricKind::kCounter) {
    sample.counter.value = value;
  } else {
    sample.gauge.value = value;
  }
}

void MetricWriter::Add(MetricId id, const HistogramCounts& counts, const Labels& labels) {
  prometheus::ClientMetric::Histogram& histogram = AddSample(id, labels).histogram;
  histogram.sample_count = counts.total;
  histogram.sample_sum = counts.sum;
  uint64_t below = 0;
  for (size_t i = 0; i < counts.counts.size(); ++i) {
    below += counts.counts[i];
    const double bound = i < counts.upper_bounds.size() ? counts.upper_bounds[i]
                                                        : std::numeric_limits<double>::infinity();
    histogram.bucket.push_back({below, bound});
  }
}

std::string MetricWriter::ToText() const {
  std::vector<prometheus::MetricFamily> told;
  for (const prometheus::MetricFamily& family : families_) {
    if (!family.metric.empty()) told.push_back(family);
  }
  const prometheus::TextSerializer serializer;
  return serializer.Serialize(told);
}

}  // namespace wdelta

// Prometheus' text format, read as strictly as the tests need it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta::testing {

struct MetricSample {
  std::string name;  // of a histogram's with `_bucket`, `_count` or `_sum`
  std::map<std::string, std::string> labels;
  double value = 0;
};

struct MetricFamilyText {
  std::string type;
  std::string help;
  std::vector<MetricSample> samples;
};

class MetricText {
 public:
  // INVALID_ARGUMENT with the line: one that is neither comment nor sample, a sample without
  // HELP and TYPE before it or of another name, a family or a sample given twice.
  static absl::StatusOr<MetricText> Parse(absl::string_view text);

  const std::map<std::string, MetricFamilyText>& families() const { return families_; }

  // The sum of the samples of this name that have these labels among theirs; 0: there are none.
  double Sum(const std::string& name, const std::map<std::string, std::string>& labels = {}) const;

 private:
  std::map<std::string, MetricFamilyText> families_;
};

// `wdelta_x_seconds` of `wdelta_x_seconds_bucket` and its like.
std::string WithoutHistogramSuffix(absl::string_view name);

}  // namespace wdelta::testing

#include "tests/support/metric_text.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace wdelta::testing {
namespace {

// Takes `name="value",…}` off the front of `text`; false: it is something else.
bool ParseLabels(absl::string_view& text, std::map<std::string, std::string>& labels) {
  while (!absl::ConsumePrefix(&text, "}")) {
    const size_t equals = text.find("=\"");
    if (equals == absl::string_view::npos || equals == 0) return false;
    const std::string name(text.substr(0, equals));
    text.remove_prefix(equals + 2);
    std::string value;
    while (!text.empty() && text.front() != '"') {
      if (text.front() == '\\') text.remove_prefix(1);
      if (text.empty()) return false;
      value.push_back(text.front());
      text.remove_prefix(1);
    }
    if (!absl::ConsumePrefix(&text, "\"")) return false;
    if (!labels.emplace(name, value).second) return false;
    absl::ConsumePrefix(&text, ",");
  }
  return true;
}

std::optional<MetricSample> ParseSample(absl::string_view line) {
  const size_t end = line.find_first_of("{ ");
  if (end == absl::string_view::npos || end == 0) return std::nullopt;
  MetricSample sample;
  sample.name = std::string(line.substr(0, end));
  line.remove_prefix(end);
  if (absl::ConsumePrefix(&line, "{") && !ParseLabels(line, sample.labels)) return std::nullopt;
  if (!absl::ConsumePrefix(&line, " ")) return std::nullopt;
  if (!absl::SimpleAtod(line, &sample.value)) return std::nullopt;
  return sample;
}

}  // namespace

std::string WithoutHistogramSuffix(absl::string_view name) {
  for (const absl::string_view suffix : {"_bucket", "_count", "_sum"}) {
    if (absl::ConsumeSuffix(&name, suffix)) break;
  }
  return std::string(name);
}

absl::StatusOr<MetricText> MetricText::Parse(absl::string_view text) {
  MetricText parsed;
  std::set<std::pair<std::string, std::map<std::string, std::string>>> seen;
  std::string current;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const auto bad = [&](absl::string_view why) {
      return absl::InvalidArgumentError(absl::StrCat(why, ": ", line));
    };
    if (absl::StartsWith(line, "# ")) {
      const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 3));
      if (words.size() != 4) return bad("expected HELP or TYPE, a name and a text");
      MetricFamilyText& family = parsed.families_[words[2]];
      std::string& field = words[1] == "HELP" ? family.help : family.type;
      if (!field.empty() || !family.samples.empty()) return bad("given twice");
      field = words[3];
      current = words[2];
      continue;
    }
    std::optional<MetricSample> sample = ParseSample(line);
    if (!sample.has_value()) return bad("expected a sample");
    MetricFamilyText& family = parsed.families_[current];
    const bool is_histogram = family.type == "histogram";
    if (family.help.empty() || family.type.empty()) return bad("without HELP and TYPE");
    const std::string base = is_histogram ? WithoutHistogramSuffix(sample->name) : sample->name;
    if (base != current) return bad("not of the family before it");
    if (!seen.emplace(sample->name, sample->labels).second) return bad("given twice");
    family.samples.push_back(*std::move(sample));
  }
  return parsed;
}

double MetricText::Sum(const std::string& name,
                       const std::map<std::string, std::string>& labels) const {
  auto family = families_.find(name);
  if (family == families_.end()) family = families_.find(WithoutHistogramSuffix(name));
  if (family == families_.end()) return 0;
  double sum = 0;
  for (const MetricSample& sample : family->second.samples) {
    const bool has_all = std::all_of(labels.begin(), labels.end(), [&](const auto& label) {
      const auto found = sample.labels.find(label.first);
      return found != sample.labels.end() && found->second == label.second;
    });
    if (sample.name == name && has_all) sum += sample.value;
  }
  return sum;
}

}  // namespace wdelta::testing

#include "server/operations/metric_writer.h"

#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/operations/metric_sources.h"
#include "tests/support/metric_text.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(MetricTable, FollowsPrometheusConventions) {
  std::set<std::string> names;
  for (const Metric& metric : AllMetrics()) {
    const std::string name = metric.name;
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string::npos) << name;
    EXPECT_TRUE(absl::StartsWith(name, "wdelta_")) << name;
    EXPECT_EQ(absl::EndsWith(name, "_total"), metric.kind == MetricKind::kCounter) << name;
    EXPECT_EQ(WithoutHistogramSuffix(name), name);
    // Base units.
    for (const char* word : {"_ms", "_us", "_kib", "_mib", "_percent"}) {
      EXPECT_THAT(name, Not(HasSubstr(word)));
    }
    const std::string help = metric.help;
    EXPECT_FALSE(help.empty()) << name;
    EXPECT_NE(help.back(), '.') << name;
    EXPECT_EQ(&MetricOf(metric.id), &metric);
  }
}

TEST(MetricWriter, WritesEveryKindAndEscapesLabels) {
  MetricWriter writer;
  writer.Add(MetricId::kReadOnly, 1);
  writer.Add(MetricId::kCacheHits, 12345678901.0, {{"cache", "a\"b\\c\nd"}});
  HistogramCounts counts({0.5, 2});
  for (const double value : {0.1, 1.0, 1.0, 9.0}) counts.Add(value);
  writer.Add(MetricId::kFetchDuration, counts);
  const std::string text = writer.ToText();
  const absl::StatusOr<MetricText> parsed = MetricText::Parse(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->families().size(), 3u);
  EXPECT_EQ(parsed->Sum("wdelta_read_only"), 1);
  EXPECT_EQ(parsed->families().at("wdelta_read_only").type, "gauge");
  EXPECT_EQ(parsed->Sum("wdelta_cache_hits_total"), 12345678901.0);
  EXPECT_EQ(parsed->families().at("wdelta_cache_hits_total").type, "counter");
  EXPECT_THAT(text, HasSubstr(R"({cache="a\"b\\c\nd"})"));
  EXPECT_EQ(parsed->Sum("wdelta_fetch_duration_seconds_bucket", {{"le", "0.5"}}), 1);
  EXPECT_EQ(parsed->Sum("wdelta_fetch_duration_seconds_bucket", {{"le", "2"}}), 3);
  EXPECT_EQ(parsed->Sum("wdelta_fetch_duration_seconds_bucket", {{"le", "+Inf"}}), 4);
  EXPECT_EQ(parsed->Sum("wdelta_fetch_duration_seconds_count"), 4);
  EXPECT_DOUBLE_EQ(parsed->Sum("wdelta_fetch_duration_seconds_sum"), 11.1);
}

TEST(MetricSources, ASourceThatFailsIsToldAndHidesNoOther) {
  MetricSources sources;
  const auto good = sources.Add("good", [](MetricWriter& writer) {
    writer.Add(MetricId::kReadOnly, 1);
    return absl::OkStatus();
  });
  {
    const auto bad = sources.Add("bad", [](MetricWriter& writer) {
      writer.Add(MetricId::kDiskFree, 7);
      return absl::UnavailableError("down");
    });
    const absl::StatusOr<MetricText> both = MetricText::Parse(sources.Scrape());
    ASSERT_TRUE(both.ok()) << both.status();
    EXPECT_EQ(both->Sum("wdelta_scrape_source_failed", {{"source", "good"}}), 0);
    EXPECT_EQ(both->Sum("wdelta_scrape_source_failed", {{"source", "bad"}}), 1);
    EXPECT_EQ(both->Sum("wdelta_read_only"), 1);
    EXPECT_EQ(both->Sum("wdelta_disk_free_bytes"), 7);
  }
  EXPECT_THAT(sources.Scrape(), Not(HasSubstr("bad")));
}

}  // namespace
}  // namespace wdelta::testing

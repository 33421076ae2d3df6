// What the dashboard and the alert rules of deploy/ ask for is what the daemon exposes.
#include <algorithm>
#include <cctype>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/operations/metric_table.h"
#include "tests/support/metric_text.h"
#include "yaml-cpp/yaml.h"

namespace wdelta::testing {
namespace {

std::string ReadDeployed(const std::string& name) {
  std::ifstream file(absl::StrCat(WDELTA_DEPLOY_DIR, "/", name));
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_TRUE(file.good()) << name;
  return text.str();
}

// Words of an expression that begin with the prefix of metrics.
std::set<std::string> MetricsOf(const std::string& expression) {
  std::set<std::string> names;
  std::string word;
  for (const char c : expression + " ") {
    if (std::isalnum(static_cast<unsigned char>(c)) || c == '_') {
      word.push_back(c);
      continue;
    }
    if (absl::StartsWith(word, "wdelta_")) names.insert(word);
    word.clear();
  }
  return names;
}

void ExpectExposed(const std::vector<std::string>& expressions) {
  for (const std::string& expression : expressions) {
    const std::set<std::string> names = MetricsOf(expression);
    EXPECT_TRUE(!names.empty() || absl::StrContains(expression, "up{")) << expression;
    for (const std::string& name : names) {
      const bool is_exposed =
          std::any_of(AllMetrics().begin(), AllMetrics().end(), [&](const Metric& metric) {
            // A histogram has no sample of its own name.
            return metric.kind == MetricKind::kHistogram
                       ? name != metric.name && WithoutHistogramSuffix(name) == metric.name
                       : name == metric.name;
          });
      EXPECT_TRUE(is_exposed) << name << " in " << expression;
    }
  }
}

TEST(DeployFiles, TheDashboardAsksForMetricsThatThereAre) {
  const nlohmann::json dashboard =
      nlohmann::json::parse(ReadDeployed("grafana/wdelta.json"), nullptr, false);
  ASSERT_TRUE(dashboard.is_object());
  std::vector<std::string> expressions;
  std::set<int> ids;
  for (const nlohmann::json& panel : dashboard.at("panels")) {
    EXPECT_TRUE(ids.insert(panel.at("id").get<int>()).second) << panel.at("title");
    for (const nlohmann::json& target : panel.at("targets")) {
      expressions.push_back(target.at("expr").get<std::string>());
    }
  }
  for (const nlohmann::json& variable : dashboard.at("templating").at("list")) {
    const auto query = variable.at("query").get<std::string>();
    if (absl::StrContains(query, "label_values")) expressions.push_back(query);
  }
  EXPECT_GE(expressions.size(), 20u);
  ExpectExposed(expressions);
}

TEST(DeployFiles, TheAlertsAskForMetricsThatThereAre) {
  const YAML::Node rules = YAML::Load(ReadDeployed("prometheus/alerts.yaml"));
  std::vector<std::string> expressions;
  std::set<std::string> names;
  for (const auto& group : rules["groups"]) {
    for (const auto& rule : group["rules"]) {
      EXPECT_TRUE(names.insert(rule["alert"].as<std::string>()).second);
      EXPECT_TRUE(rule["annotations"]["summary"].IsDefined()) << rule["alert"];
      EXPECT_TRUE(rule["labels"]["severity"].IsDefined()) << rule["alert"];
      expressions.push_back(rule["expr"].as<std::string>());
    }
  }
  EXPECT_GE(expressions.size(), 8u);
  ExpectExposed(expressions);
}

}  // namespace
}  // namespace wdelta::testing

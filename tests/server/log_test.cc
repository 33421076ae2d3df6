#include "server/log.h"

#include <sstream>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "spdlog/sinks/ostream_sink.h"

namespace wdelta {
namespace {

TEST(JsonFormatter, EscapesWhateverAMessageHolds) {
  std::ostringstream out;
  spdlog::logger log("test", std::make_shared<spdlog::sinks::ostream_sink_st>(out));
  log.set_formatter(std::make_unique<JsonFormatter>());
  log.warn("a \"quoted\" \\ path\nwith a line end and \xff");
  const std::string text = out.str();
  EXPECT_EQ(text.find('\n'), text.size() - 1);
  const nlohmann::json line = nlohmann::json::parse(text);
  EXPECT_EQ(line.at("level"), "warning");
  EXPECT_EQ(line.at("message"), "a \"quoted\" \\ path\nwith a line end and \xEF\xBF\xBD");
  EXPECT_EQ(line.at("time").get<std::string>().back(), 'Z');
}

}  // namespace
}  // namespace wdelta

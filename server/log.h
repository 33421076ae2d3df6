// The daemon's log: lines on stderr, as text or JSON.
#pragma once

#include <memory>
#include <string>

#include "server/config.h"
#include "spdlog/formatter.h"
#include "spdlog/logger.h"

namespace wdelta {

// One JSON object a line: time (RFC 3339, UTC), level, message. A message that is
// not UTF-8 has the broken bytes replaced. One thread at a time (its sink's lock).
class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override;
  std::unique_ptr<spdlog::formatter> clone() const override;
};

// Any thread may use it. `level` is one that the configuration admits.
std::shared_ptr<spdlog::logger> NewStderrLogger(const std::string& level, LogFormat format);

}  // namespace wdelta

// One line in the log for every HTTP request when it ends, and its place in the statistics.
#pragma once

#include "httplib.h"
#include "server/http/http_stats.h"
#include "spdlog/logger.h"

namespace wdelta {

// What the server could not do is an error, or a warning where the client may come again;
// everything else is for debugging: clients ask for files that a model need not have. Any
// thread.
void LogRequest(spdlog::logger& log, const httplib::Request& request,
                const httplib::Response& response);

// Adds the request's duration. Any thread.
void CountRequest(HttpStats& stats, const httplib::Request& request,
                  const httplib::Response& response);

}  // namespace wdelta

// One line in the log for every HTTP request when it ends.
#pragma once

#include "httplib.h"
#include "spdlog/logger.h"

namespace wdelta {

// What the server could not do is an error, or a warning where the client may come again;
// everything else is for debugging: clients ask for files that a model need not have. Any
// thread.
void LogRequest(spdlog::logger& log, const httplib::Request& request,
                const httplib::Response& response);

}  // namespace wdelta

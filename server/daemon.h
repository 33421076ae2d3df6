// The daemon from its configuration to its end: data folder, storage, engine, workers,
// services, serve, drain.
#pragma once

#include "absl/status/status.h"
#include "server/config.h"
#include "spdlog/logger.h"

namespace wdelta {

// Serves until SIGINT or SIGTERM, in the calling thread and others that end before it
// returns. Errors: what kept it from starting, such as FAILED_PRECONDITION
// (`DATA_DIR_IN_USE`, `NOT_A_DATA_DIR`, `DATA_FORMAT_NEWER`).
absl::Status RunDaemon(const Config& config, spdlog::logger& log);

}  // namespace wdelta

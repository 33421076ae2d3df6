// One line in the log for every call that changes something, done or refused.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "server/auth/identity.h"
#include "spdlog/logger.h"

namespace wdelta {

struct AuditEntry {
  const Identity* identity = nullptr;  // null: no token that is known
  absl::string_view peer;              // address
  absl::string_view action;            // e.g. `Models.SetTag`
  // What it was done to: names, references, ids, as the caller gave them.
  std::vector<std::string> subjects;
  absl::string_view result;  // e.g. `OK`, `NAME_NOT_ALLOWED`
  absl::string_view request_id;
};

// Whatever the level of `log` is, as at level info: to its sinks, in their format.
// `audit: token NAME ACTION SUBJECTS: RESULT, request ID, peer PEER`, on one line whatever callers
// gave; without a token that is known NAME is `-`, as SUBJECTS are without any. Any thread.
void LogAudit(spdlog::logger& log, const AuditEntry& entry);

}  // namespace wdelta

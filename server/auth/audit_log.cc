#include "server/auth/audit_log.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/auth/auth_limits.h"

namespace wdelta {

void LogAudit(spdlog::logger& log, const AuditEntry& entry) {
  const std::string who = entry.identity == nullptr ? "-" : entry.identity->name;
  std::string subjects = absl::StrJoin(entry.subjects, ",");
  if (subjects.size() > auth_limits::kMaxAuditedSubjectBytes) {
    subjects.resize(auth_limits::kMaxAuditedSubjectBytes);
    subjects += "...";
  }
  spdlog::logger audit(log.name(), log.sinks().begin(), log.sinks().end());
  audit.set_level(spdlog::level::info);
  audit.flush_on(log.flush_level());
  audit.info("audit: token {} {} {}: {}, request {}, peer {}", who, std::string(entry.action),
             subjects.empty() ? "-" : absl::CHexEscape(subjects), std::string(entry.result),
             std::string(entry.request_id), std::string(entry.peer));
}

}  // namespace wdelta

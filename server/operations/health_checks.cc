#include "server/operations/health_checks.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace wdelta {
namespace {

struct NamedCheck {
  const char* name;
  absl::Status status;
};

}  // namespace

void HealthChecks::SetStore(Check disk) {
  absl::MutexLock lock(&mutex_);
  disk_ = std::move(disk);
}

void HealthChecks::SetServing() {
  Phase expected = Phase::kStarting;
  phase_.compare_exchange_strong(expected, Phase::kServing);
}

void HealthChecks::SetDraining() { phase_.store(Phase::kDraining); }

absl::Status HealthChecks::CheckServing() const {
  switch (phase_.load()) {
    case Phase::kStarting:
      return absl::UnavailableError("the daemon is starting");
    case Phase::kDraining:
      return absl::UnavailableError("the daemon is stopping");
    case Phase::kServing:
      break;
  }
  return absl::OkStatus();
}

HealthReport HealthChecks::Look(const std::vector<std::string>& excluded) {
  std::vector<NamedCheck> checks = {{"serving", CheckServing()}};
  {
    absl::MutexLock lock(&mutex_);
    const absl::Status not_open = absl::UnavailableError("the store is not open");
    checks.push_back({"store", disk_ == nullptr ? not_open : absl::OkStatus()});
    checks.push_back({"disk", disk_ == nullptr ? not_open : disk_()});
  }
  HealthReport report{true, ""};
  for (const NamedCheck& check : checks) {
    if (std::find(excluded.begin(), excluded.end(), check.name) != excluded.end()) {
      absl::StrAppend(&report.text, "[ ]", check.name, " excluded\n");
    } else if (check.status.ok()) {
      absl::StrAppend(&report.text, "[+]", check.name, " ok\n");
    } else {
      report.is_ready = false;
      absl::StrAppend(&report.text, "[-]", check.name, " failed: ", check.status.message(), "\n");
    }
  }
  absl::StrAppend(&report.text, "readyz check ", report.is_ready ? "passed" : "failed", "\n");
  return report;
}

}  // namespace wdelta

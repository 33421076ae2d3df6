// What the target of a request names. Pure functions; any thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

struct HubRoute {
  enum class Kind {
    kUnknown,
    kHealth,        // /healthz
    kWhoAmI,        // /api/whoami-v2
    kTelemetry,     // /api/telemetry/…
    kResolve,       // /{repo}/resolve/{rev}/{path}
    kInfo,          // /api/models/{repo}[/revision/{rev}]
    kTree,          // /api/models/{repo}/tree/{rev}[/{path}]
    kPathsInfo,     // /api/models/{repo}/paths-info/{rev}
    kRefs,          // /api/models/{repo}/refs
    kCreateRepo,    // /api/repos/create
    kValidateYaml,  // /api/validate-yaml
    kPreupload,     // /api/models/{repo}/preupload/{rev}
    kCommit,        // /api/models/{repo}/commit/{rev}
    kLfsBatch,      // /{repo}.git/info/lfs/objects/batch
    kLfsObject,     // /{repo}.git/info/lfs/objects/{path}: a SHA-256
    kLfsVerify,     // /{repo}.git/info/lfs/verify
    kCommits,       // /api/models/{repo}/commits/{rev}
    kTag,           // /api/models/{repo}/tag/{rev}: a revision or a tag
    kBranch,        // /api/models/{repo}/branch/{rev}
  };
  Kind kind = Kind::kUnknown;
  std::string repo;  // `name` or `namespace/name`; not validated
  std::string revision = "main";
  std::string path;  // in the repository; empty: its root
  // Of the query, decoded, in order.
  std::vector<std::pair<std::string, std::string>> query;

  // The first value of a key; empty: not given.
  std::string Query(absl::string_view key) const;
  // Clients before 1.0 write `True`.
  bool IsTrue(absl::string_view key) const;
};

// `target` is that of a request line, still encoded. A revision may hold an encoded `/`.
// INVALID_ARGUMENT (`BAD_TARGET`): not a path, a broken escape, a control character, not
// UTF-8, or longer than kMaxTargetBytes.
absl::StatusOr<HubRoute> ParseHubTarget(absl::string_view target);

// `a=1&b=x+y`, as in a query and in a form. INVALID_ARGUMENT (`BAD_TARGET`).
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> ParseForm(absl::string_view text);

// For a path of a URL: everything but letters, digits, `-._~` and `/` as %XX.
std::string PercentEncode(absl::string_view text);

}  // namespace wdelta

#include "storage/catalog/commit_checks.h"

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

absl::Status TwiceError(absl::string_view key) {
  return absl::InvalidArgumentError(
      absl::StrCat("commit: key `", absl::CHexEscape(key), "` is changed more than once"));
}

}  // namespace

absl::Status CheckCommit(const Commit& commit) {
  const absl::Status empty_key = absl::InvalidArgumentError("commit: a key is empty");
  absl::flat_hash_set<absl::string_view> written;
  for (const Commit::Put& put : commit.puts) {
    if (put.key.empty()) return empty_key;
    if (!written.insert(put.key).second) return TwiceError(put.key);
  }
  for (const std::string& key : commit.deletes) {
    if (key.empty()) return empty_key;
    if (written.contains(key)) return TwiceError(key);
  }
  for (const Commit::Condition& condition : commit.conditions) {
    if (condition.key.empty()) return empty_key;
  }
  return absl::OkStatus();
}

absl::Status CheckScan(const ScanRequest& request) {
  if (request.limit > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("scan: expected a limit of at least 1, found 0");
}

absl::Status CheckCondition(const Commit::Condition& condition, uint64_t found_version) {
  if (condition.version == found_version) return absl::OkStatus();
  return MakeError(absl::StatusCode::kAborted, "CONFLICT",
                   absl::StrCat("record `", absl::CHexEscape(condition.key), "`: expected version ",
                                condition.version, ", found ", found_version),
                   {{"key", condition.key}});
}

}  // namespace wdelta

#include "storage/catalog/rocksdb_commit_group.h"

#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/commit_checks.h"
#include "storage/catalog/rocksdb_records.h"

namespace wdelta {

absl::StatusOr<uint64_t> RocksdbCommitGroup::VersionOf(absl::string_view key) const {
  const auto written = written_.find(key);
  return written != written_.end() ? written->second : read_version_(key);
}

absl::StatusOr<uint64_t> RocksdbCommitGroup::Add(const Commit& commit) {
  for (const Commit::Condition& condition : commit.conditions) {
    WDELTA_ASSIGN_OR_RETURN(const uint64_t version, VersionOf(condition.key));
    WDELTA_RETURN_IF_ERROR(CheckCondition(condition, version));
  }
  absl::flat_hash_set<std::string> deletes;
  for (const std::string& key : commit.deletes) {
    WDELTA_ASSIGN_OR_RETURN(const uint64_t found, VersionOf(key));
    if (found != 0) deletes.insert(key);
  }
  if (commit.puts.empty() && commit.deletes.empty()) return revision_;

  const std::string version = EncodeU64(revision_ + 1);
  batch_.SetSavePoint();
  rocksdb::Status status = batch_.Put(ToSlice(kRevisionKey), version);
  for (const Commit::Put& put : commit.puts) {
    if (status.ok()) status = batch_.Put(RecordKey(put.key), absl::StrCat(version, put.value));
  }
  for (const std::string& key : deletes) {
    if (status.ok()) status = batch_.Delete(RecordKey(key));
  }
  if (!status.ok()) {
    batch_.RollbackToSavePoint();
    return absl::InternalError(absl::StrCat("commit: ", status.ToString()));
  }
  batch_.PopSavePoint();

  ++revision_;
  std::vector<Change> changes;
  for (const Commit::Put& put : commit.puts) {
    written_[put.key] = revision_;
    changes.push_back({put.key, put.value, revision_});
  }
  for (const std::string& key : deletes) {
    written_[key] = 0;
    changes.push_back({key, std::nullopt, revision_});
  }
  changes_.push_back(std::move(changes));
  return revision_;
}

}  // namespace wdelta

#include "storage/catalog/memory_catalog.h"

#include <iterator>
#include <utility>
#include <vector>

#include "storage/base/status_macros.h"
#include "storage/catalog/commit_checks.h"

namespace wdelta {

absl::StatusOr<std::optional<Record>> MemoryCatalog::Get(absl::string_view key) {
  absl::MutexLock lock(&mutex_);
  const auto found = records_.find(key);
  if (found == records_.end()) return std::optional<Record>();
  return std::optional<Record>({found->first, found->second.value, found->second.version});
}

absl::StatusOr<ScanPage> MemoryCatalog::Scan(const ScanRequest& request) {
  WDELTA_RETURN_IF_ERROR(CheckScan(request));
  ScanPage page;
  if (!request.end.empty() && request.end <= request.begin) return page;

  absl::MutexLock lock(&mutex_);
  const auto begin = records_.lower_bound(request.begin);
  const auto end = request.end.empty() ? records_.end() : records_.lower_bound(request.end);
  const auto take = [&](auto it, auto stop) {
    for (; it != stop && page.records.size() < request.limit; ++it) {
      page.records.push_back({it->first, it->second.value, it->second.version});
    }
    page.more = it != stop;
  };
  if (request.reverse) {
    take(std::make_reverse_iterator(end), std::make_reverse_iterator(begin));
  } else {
    take(begin, end);
  }
  return page;
}

absl::StatusOr<uint64_t> MemoryCatalog::Apply(const Commit& commit) {
  WDELTA_RETURN_IF_ERROR(CheckCommit(commit));
  absl::MutexLock lock(&mutex_);
  for (const Commit::Condition& condition : commit.conditions) {
    const auto found = records_.find(condition.key);
    WDELTA_RETURN_IF_ERROR(
        CheckCondition(condition, found == records_.end() ? 0 : found->second.version));
  }
  if (commit.puts.empty() && commit.deletes.empty()) return revision_;

  ++revision_;
  std::vector<Change> changes;
  for (const Commit::Put& put : commit.puts) {
    records_[put.key] = {put.value, revision_};
    changes.push_back({put.key, put.value, revision_});
  }
  for (const std::string& key : commit.deletes) {
    if (records_.erase(key) > 0) changes.push_back({key, std::nullopt, revision_});
  }
  changes_.Append(std::move(changes), revision_);
  return revision_;
}

absl::StatusOr<uint64_t> MemoryCatalog::CurrentRevision() {
  absl::MutexLock lock(&mutex_);
  return revision_;
}

absl::StatusOr<std::unique_ptr<Watcher>> MemoryCatalog::Watch(std::string prefix,
                                                              uint64_t after_revision) {
  return changes_.Watch(std::move(prefix), after_revision);
}

}  // namespace wdelta

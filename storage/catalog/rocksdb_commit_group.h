// Commits that become durable by one write, so that many writers share the wait for a disk.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "rocksdb/write_batch.h"
#include "storage/catalog/catalog.h"

namespace wdelta {

// Each commit sees those that were added before it, as if they were on the disk. One thread at a
// time.
class RocksdbCommitGroup {
 public:
  // Version of a record on the disk; 0: absent.
  using ReadVersion = std::function<absl::StatusOr<uint64_t>(absl::string_view key)>;

  // `revision`: of the last commit on the disk.
  RocksdbCommitGroup(uint64_t revision, ReadVersion read_version)
      : revision_(revision), read_version_(std::move(read_version)) {}

  // The commit's revision; `commit` has passed CheckCommit. One that fails, by its conditions or by
  // a read, leaves no trace. Errors: as Catalog::Apply.
  absl::StatusOr<uint64_t> Add(const Commit& commit);

  // Of the last commit, on the disk or added.
  uint64_t revision() const { return revision_; }
  // Of all commits, with the revision.
  rocksdb::WriteBatch& batch() { return batch_; }
  // Of each commit that writes something, in order; the last one's revision is revision().
  std::vector<std::vector<Change>> TakeChanges() { return std::move(changes_); }
  bool IsEmpty() const { return changes_.empty(); }

 private:
  absl::StatusOr<uint64_t> VersionOf(absl::string_view key) const;

  uint64_t revision_;
  const ReadVersion read_version_;
  rocksdb::WriteBatch batch_;
  absl::flat_hash_map<std::string, uint64_t> written_;  // versions; 0: deleted
  std::vector<std::vector<Change>> changes_;
};

}  // namespace wdelta

// How many jobs wait and run, without reading the queue each time.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "storage/catalog/catalog.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// Reads the queue once and follows the catalog's changes from then on; reads it again when
// it was not asked for so long that the changes are not kept. Any thread may call it.
class JobTally {
 public:
  using Key = std::pair<store::v1::JobRecord::Kind, store::v1::JobRecord::State>;
  using Counts = std::map<Key, uint64_t>;

  // Does not own the catalog, which must outlive it.
  explicit JobTally(Catalog* catalog) : catalog_(*catalog) {}
  JobTally(const JobTally&) = delete;
  JobTally& operator=(const JobTally&) = delete;

  // Jobs that have not ended, after all commits that ended before the call. A key stays, with
  // zero, once it was there. Errors: the catalog's.
  absl::StatusOr<Counts> Read() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  absl::Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Put(const std::string& id, const store::v1::JobRecord& job)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Erase(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Catalog& catalog_;
  absl::Mutex mutex_;
  std::unique_ptr<Watcher> watcher_ ABSL_GUARDED_BY(mutex_);  // null: nothing read yet
  absl::flat_hash_map<std::string, Key> jobs_ ABSL_GUARDED_BY(mutex_);
  Counts counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

// The declared lineage of all models in memory, and what they take, kept equal to the
// catalog's.
//
// Reads the records of models once and follows the catalog's changes from then on, so
// that several daemons may share a catalog. A model whose record is damaged is left
// out: reading it tells. Memory grows with the number of models, by some hundred bytes
// for each.
#pragma once

#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/models/model_tally.h"
#include "storage/lineage/lineage_graph.h"

namespace wdelta {

// Any thread may call it.
class LineageIndex {
 public:
  // Owns nothing; the catalog must outlive it.
  explicit LineageIndex(Catalog* catalog) : catalog_(*catalog) {}
  ~LineageIndex();
  LineageIndex(const LineageIndex&) = delete;
  LineageIndex& operator=(const LineageIndex&) = delete;

  // Reads all models, then follows changes in a thread of its own, so that no View has
  // much to catch up with. Once; without it, the first View reads the models.
  absl::Status Start();

  // Calls `body` with the lineage after all commits that ended before the call, as far
  // as the catalog has told of them. No change is applied meanwhile: `body` does not
  // read from storage. Returns what it returns, or the catalog's error.
  absl::Status View(absl::FunctionRef<absl::Status(const LineageGraph&)> body)
      ABSL_LOCKS_EXCLUDED(follow_mutex_, graph_mutex_);

  // Likewise, of all models: how many, and their bytes.
  absl::StatusOr<ModelTally::Totals> Totals() ABSL_LOCKS_EXCLUDED(follow_mutex_, graph_mutex_);

 private:
  absl::Status CatchUp() ABSL_LOCKS_EXCLUDED(follow_mutex_, graph_mutex_);
  absl::Status Load() ABSL_EXCLUSIVE_LOCKS_REQUIRED(follow_mutex_);
  void Follow();
  absl::Status FollowUntilError() ABSL_LOCKS_EXCLUDED(alarm_mutex_);

  Catalog& catalog_;

  absl::Mutex follow_mutex_ ABSL_ACQUIRED_BEFORE(graph_mutex_);
  std::unique_ptr<Watcher> watcher_ ABSL_GUARDED_BY(follow_mutex_);  // null: nothing read yet

  absl::Mutex graph_mutex_;
  LineageGraph graph_ ABSL_GUARDED_BY(graph_mutex_);
  ModelTally tally_ ABSL_GUARDED_BY(graph_mutex_);

  // Wakes the thread, which alone replaces it; `watcher_` is for whoever catches up.
  absl::Mutex alarm_mutex_;
  std::unique_ptr<Watcher> alarm_ ABSL_GUARDED_BY(alarm_mutex_);
  absl::Notification stopping_;
  std::thread thread_;
};

}  // namespace wdelta

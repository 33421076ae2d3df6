#include "storage/engine/models/lineage_index.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "store/v1/records.pb.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

constexpr uint32_t kScanRecords = 1000;

// `value` is that of the model's record; nullopt: it was erased.
void ApplyRecord(absl::string_view key, const std::optional<std::string>& value,
                 LineageGraph& graph, ModelTally& tally) {
  const std::string id(key.substr(keys::kModels.size()));
  ModelRecord record;
  if (!value.has_value() || !record.ParseFromString(*value)) {
    graph.Erase(id);
    tally.Erase(id);
    return;
  }
  tally.Put(id, record);
  LineageGraph::Model model{id, record.name(), {}, record.state() == ModelRecord::DELETED};
  for (const store::v1::ParentEdge& edge : record.parents()) {
    model.parents.push_back({edge.model_id(), edge.name()});
  }
  graph.Put(model);
}

}  // namespace

LineageIndex::~LineageIndex() {
  {
    absl::MutexLock lock(&alarm_mutex_);
    stopping_.Notify();
    if (alarm_ != nullptr) alarm_->Stop();
  }
  if (thread_.joinable()) thread_.join();
}

absl::Status LineageIndex::Start() {
  WDELTA_RETURN_IF_ERROR(CatchUp());
  thread_ = std::thread([this] { Follow(); });
  return absl::OkStatus();
}

absl::Status LineageIndex::View(absl::FunctionRef<absl::Status(const LineageGraph&)> body) {
  WDELTA_RETURN_IF_ERROR(CatchUp());
  absl::ReaderMutexLock lock(&graph_mutex_);
  return body(graph_);
}

absl::StatusOr<ModelTally::Totals> LineageIndex::Totals() {
  WDELTA_RETURN_IF_ERROR(CatchUp());
  absl::ReaderMutexLock lock(&graph_mutex_);
  return tally_.totals();
}

absl::Status LineageIndex::CatchUp() {
  absl::MutexLock lock(&follow_mutex_);
  if (watcher_ == nullptr) WDELTA_RETURN_IF_ERROR(Load());
  const absl::StatusOr<std::vector<Change>> changes = watcher_->Next(absl::InfinitePast());
  if (absl::IsOutOfRange(changes.status())) return Load();
  WDELTA_RETURN_IF_ERROR(changes.status());
  if (!changes->empty()) {
    absl::MutexLock graph_lock(&graph_mutex_);
    for (const Change& change : *changes) {
      ApplyRecord(change.key, change.value, graph_, tally_);
    }
  }
  return absl::OkStatus();
}

absl::Status LineageIndex::Load() {
  // What changes during the scan is seen by the watcher, and applied once more.
  WDELTA_ASSIGN_OR_RETURN(const uint64_t revision, catalog_.CurrentRevision());
  WDELTA_ASSIGN_OR_RETURN(std::unique_ptr<Watcher> watcher,
                          catalog_.Watch(std::string(keys::kModels), revision));
  LineageGraph graph;
  ModelTally tally;
  ScanRequest request{std::string(keys::kModels), PrefixEnd(keys::kModels), kScanRecords, false};
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(ScanPage page, catalog_.Scan(request));
    for (Record& record : page.records) {
      ApplyRecord(record.key, std::move(record.value), graph, tally);
    }
    if (!page.more || page.records.empty()) break;
    request.begin = page.records.back().key + '\0';
  }
  watcher_ = std::move(watcher);
  absl::MutexLock graph_lock(&graph_mutex_);
  graph_ = std::move(graph);
  tally_ = std::move(tally);
  return absl::OkStatus();
}

void LineageIndex::Follow() {
  absl::Duration delay = absl::Milliseconds(limits::kMinWorkerBackOffMs);
  while (!stopping_.HasBeenNotified()) {
    if (FollowUntilError().ok()) {
      delay = absl::Milliseconds(limits::kMinWorkerBackOffMs);
      continue;
    }
    // Views tell callers of errors; here it is enough to try again.
    stopping_.WaitForNotificationWithTimeout(delay);
    delay = std::min(2 * delay, absl::Milliseconds(limits::kMaxWorkerBackOffMs));
  }
}

absl::Status LineageIndex::FollowUntilError() {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t revision, catalog_.CurrentRevision());
  WDELTA_ASSIGN_OR_RETURN(std::unique_ptr<Watcher> made,
                          catalog_.Watch(std::string(keys::kModels), revision));
  Watcher* const alarm = made.get();
  {
    absl::MutexLock lock(&alarm_mutex_);
    if (stopping_.HasBeenNotified()) return absl::OkStatus();
    alarm_ = std::move(made);
  }
  while (true) {
    WDELTA_RETURN_IF_ERROR(CatchUp());
    const absl::StatusOr<std::vector<Change>> changes = alarm->Next(absl::InfiniteFuture());
    if (stopping_.HasBeenNotified() || absl::IsOutOfRange(changes.status())) {
      return absl::OkStatus();
    }
    WDELTA_RETURN_IF_ERROR(changes.status());
  }
}

}  // namespace wdelta

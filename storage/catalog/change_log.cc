#include "storage/catalog/change_log.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

uint64_t BytesOf(const Change& change) {
  return sizeof(Change) + change.key.size() + (change.value.has_value() ? change.value->size() : 0);
}

}  // namespace

class ChangeLog::LogWatcher final : public Watcher {
 public:
  explicit LogWatcher(Cursor cursor) : cursor_(std::move(cursor)) {}
  absl::StatusOr<std::vector<Change>> Next(absl::Time deadline) override {
    return cursor_.log->Next(cursor_, deadline);
  }
  void Stop() override { cursor_.log->Stop(cursor_); }

 private:
  Cursor cursor_;
};

// Evaluated by Await, which holds the log's mutex.
bool ChangeLog::Cursor::IsReady() const ABSL_NO_THREAD_SAFETY_ANALYSIS {
  return stopped || log->last_revision_ > after_revision;
}

ChangeLog::ChangeLog(uint64_t revision, const ChangeLogOptions& options)
    : options_(options), last_revision_(revision), gone_revision_(revision) {}

void ChangeLog::Append(std::vector<Change> changes, uint64_t revision) {
  absl::MutexLock lock(&mutex_);
  last_revision_ = revision;
  for (Change& change : changes) {
    bytes_ += BytesOf(change);
    changes_.push_back(std::move(change));
  }
  while (changes_.size() > options_.max_changes || bytes_ > options_.max_bytes) {
    gone_revision_ = changes_.front().revision;
    bytes_ -= BytesOf(changes_.front());
    changes_.pop_front();
  }
}

absl::Status ChangeLog::CheckKept(uint64_t after_revision) const {
  if (after_revision >= gone_revision_) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kOutOfRange, "CHANGES_NOT_KEPT",
      absl::StrCat("watch after revision ", after_revision, ": only changes after revision ",
                   gone_revision_, " are kept; read the records and watch anew"));
}

absl::StatusOr<std::unique_ptr<Watcher>> ChangeLog::Watch(std::string prefix,
                                                          uint64_t after_revision) {
  {
    absl::MutexLock lock(&mutex_);
    WDELTA_RETURN_IF_ERROR(CheckKept(after_revision));
  }
  return std::make_unique<LogWatcher>(Cursor{this, std::move(prefix), after_revision, false});
}

absl::StatusOr<std::vector<Change>> ChangeLog::Next(Cursor& cursor, absl::Time deadline) {
  absl::MutexLock lock(&mutex_);
  std::vector<Change> found;
  while (found.empty()) {
    const absl::Condition ready(&cursor, &Cursor::IsReady);
    if (!mutex_.AwaitWithDeadline(ready, deadline) || cursor.stopped) return found;
    WDELTA_RETURN_IF_ERROR(CheckKept(cursor.after_revision));
    const auto first = std::upper_bound(
        changes_.begin(), changes_.end(), cursor.after_revision,
        [](uint64_t revision, const Change& change) { return revision < change.revision; });
    std::copy_if(first, changes_.end(), std::back_inserter(found),
                 [&](const Change& change) { return absl::StartsWith(change.key, cursor.prefix); });
    cursor.after_revision = last_revision_;
  }
  return found;
}

void ChangeLog::Stop(Cursor& cursor) {
  absl::MutexLock lock(&mutex_);
  cursor.stopped = true;
}

}  // namespace wdelta

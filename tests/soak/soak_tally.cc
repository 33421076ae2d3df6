#include "tests/soak/soak_tally.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "storage/base/error.h"

namespace wdelta::testing {
namespace {

struct Announcement {
  SoakCall call;
  const char* name;
  // That may come at any time.
  std::vector<std::string> errors;
  // That may come besides when an attempt had no answer.
  std::vector<std::string> after_break;
};

// Models of others may go at any time: MODEL_NOT_FOUND is checked against the truth by the
// caller. A conflict is what is left after the server has tried again itself. Comparisons, of
// which there are few at once, are not repeated, as the command line does not either.
const std::vector<Announcement>& Announcements() {
  static const auto* const table = new std::vector<Announcement>{
      {SoakCall::kPush, "push", {"NOT_FOUND MODEL_NOT_FOUND", "ABORTED CONFLICT"}, {}},
      {SoakCall::kPushLossy, "push, lossy", {"NOT_FOUND MODEL_NOT_FOUND", "ABORTED CONFLICT"}, {}},
      {SoakCall::kPushWrongParent,
       "push, wrong parent",
       {"NOT_FOUND MODEL_NOT_FOUND", "ABORTED CONFLICT"},
       {}},
      {SoakCall::kPushNoParent, "push, no such parent", {"NOT_FOUND MODEL_NOT_FOUND"}, {}},
      {SoakCall::kUploadPart,
       "part of an upload",
       {"NOT_FOUND MODEL_NOT_FOUND", "ABORTED CONFLICT"},
       // The broken stream holds the entry for a moment, or has written more.
       {"ABORTED ENTRY_BUSY", "OUT_OF_RANGE WRONG_OFFSET"}},
      {SoakCall::kResume, "resume", {"NOT_FOUND MODEL_NOT_FOUND", "ABORTED CONFLICT"}, {}},
      {SoakCall::kCancelUpload, "cancel upload", {"NOT_FOUND MODEL_NOT_FOUND"}, {}},
      {SoakCall::kPull, "pull", {"NOT_FOUND MODEL_NOT_FOUND"}, {}},
      {SoakCall::kFetchTensors, "tensors", {"NOT_FOUND MODEL_NOT_FOUND"}, {}},
      {SoakCall::kFetchRange, "file range", {"NOT_FOUND MODEL_NOT_FOUND"}, {}},
      {SoakCall::kHttpFile,
       "http file",
       {"NOT_FOUND RevisionNotFound", "NOT_FOUND RepoNotFound", "NOT_FOUND EntryNotFound"},
       {}},
      {SoakCall::kHttpRange,
       "http range",
       {"NOT_FOUND RevisionNotFound", "NOT_FOUND RepoNotFound", "NOT_FOUND EntryNotFound"},
       {}},
      {SoakCall::kCancelledFetch, "fetch, cancelled", {"NOT_FOUND MODEL_NOT_FOUND"}, {}},
      {SoakCall::kExpiredFetch, "fetch, expired", {"NOT_FOUND MODEL_NOT_FOUND"}, {}},
      {SoakCall::kGetModel, "get model", {"NOT_FOUND MODEL_NOT_FOUND"}, {}},
      {SoakCall::kListModels, "list models", {}, {}},
      {SoakCall::kLineage, "traverse", {"NOT_FOUND MODEL_NOT_FOUND"}, {}},
      {SoakCall::kDiff,
       "diff",
       {"NOT_FOUND MODEL_NOT_FOUND", "FAILED_PRECONDITION MODEL_NOT_READY",
        "RESOURCE_EXHAUSTED TOO_MANY_COMPARISONS"},
       {}},
      {SoakCall::kBlame,
       "blame",
       {"NOT_FOUND MODEL_NOT_FOUND", "FAILED_PRECONDITION MODEL_NOT_READY",
        "RESOURCE_EXHAUSTED TOO_MANY_COMPARISONS"},
       {}},
      {SoakCall::kPlanGc, "gc plan", {"RESOURCE_EXHAUSTED TOO_MANY_COMPARISONS"}, {}},
      {SoakCall::kServerInfo, "server info", {}, {}},
      {SoakCall::kSetTag, "set tag", {"ABORTED CONFLICT"}, {}},
      {SoakCall::kDeleteTag, "delete tag", {"NOT_FOUND TAG_NOT_FOUND", "ABORTED CONFLICT"}, {}},
      {SoakCall::kDelete, "delete", {"ABORTED CONFLICT"}, {"NOT_FOUND MODEL_NOT_FOUND"}},
      {SoakCall::kRepack,
       "repack",
       {"FAILED_PRECONDITION MODEL_NOT_READY", "ABORTED CONFLICT"},
       {}},
      {SoakCall::kCancelJob, "cancel job", {"FAILED_PRECONDITION JOB_ENDED"}, {}},
      {SoakCall::kGc, "gc", {"ABORTED CONFLICT"}, {}},
  };
  return *table;
}

const Announcement& AnnouncementOf(SoakCall call) {
  for (const Announcement& announcement : Announcements()) {
    if (announcement.call == call) return announcement;
  }
  return Announcements().front();
}

bool Contains(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

// `sorted` is not empty.
float Percentile(const std::vector<float>& sorted, double part) {
  return sorted[static_cast<size_t>(part * static_cast<double>(sorted.size() - 1))];
}

}  // namespace

const char* NameOf(SoakCall call) { return AnnouncementOf(call).name; }

std::string CodeAndReasonOf(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  return absl::StrCat(absl::StatusCodeToString(status.code()), reason.empty() ? "" : " ", reason);
}

bool IsAnnounced(SoakCall call, const absl::Status& status, bool after_break) {
  const Announcement& announcement = AnnouncementOf(call);
  const std::string error = CodeAndReasonOf(status);
  return Contains(announcement.errors, error) ||
         (after_break && Contains(announcement.after_break, error));
}

void SoakTally::Count(SoakCall call, const absl::Status& status, absl::Duration duration) {
  absl::MutexLock lock(&mutex_);
  ++attempts_;
  Figures& figures = figures_[call];
  if (status.ok()) {
    figures.milliseconds.push_back(static_cast<float>(absl::ToDoubleMilliseconds(duration)));
  } else {
    ++figures.errors[CodeAndReasonOf(status)];
  }
}

uint64_t SoakTally::attempts() const {
  absl::MutexLock lock(&mutex_);
  return attempts_;
}

std::vector<std::string> SoakTally::NeverDone() const {
  absl::MutexLock lock(&mutex_);
  std::vector<std::string> names;
  for (const Announcement& announcement : Announcements()) {
    const auto found = figures_.find(announcement.call);
    if (found == figures_.end() || found->second.milliseconds.empty()) {
      names.push_back(announcement.name);
    }
  }
  return names;
}

std::string SoakTally::Table() const {
  absl::MutexLock lock(&mutex_);
  std::string text =
      absl::StrFormat("%-22s %8s %10s %10s %10s\n", "call", "done", "p50 ms", "p99 ms", "max ms");
  for (const auto& [call, figures] : figures_) {
    std::vector<float> sorted = figures.milliseconds;
    std::sort(sorted.begin(), sorted.end());
    absl::StrAppendFormat(&text, "%-22s %8d", NameOf(call), sorted.size());
    if (!sorted.empty()) {
      absl::StrAppendFormat(&text, " %10.1f %10.1f %10.1f", Percentile(sorted, 0.5),
                            Percentile(sorted, 0.99), sorted.back());
    }
    absl::StrAppend(&text, "\n");
  }
  absl::StrAppendFormat(&text, "\n%-22s %-42s %8s\n", "call", "announced error", "times");
  for (const auto& [call, figures] : figures_) {
    for (const auto& [error, count] : figures.errors) {
      absl::StrAppendFormat(&text, "%-22s %-42s %8d\n", NameOf(call), error, count);
    }
  }
  return text;
}

}  // namespace wdelta::testing

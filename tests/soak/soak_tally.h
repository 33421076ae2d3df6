// What the clients of a soak run did, how long it took, and which errors they met.
#pragma once

#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace wdelta::testing {

enum class SoakCall {
  kPush,
  kPushLossy,
  kPushWrongParent,
  kPushNoParent,
  kUploadPart,
  kResume,
  kCancelUpload,
  kPull,
  kFetchTensors,
  kFetchRange,
  kHttpFile,
  kHttpRange,
  kCancelledFetch,
  kExpiredFetch,
  kGetModel,
  kListModels,
  kLineage,
  kDiff,
  kBlame,
  kPlanGc,
  kServerInfo,
  kSetTag,
  kDeleteTag,
  kDelete,
  kRepack,
  kCancelJob,
  kGc,
};

const char* NameOf(SoakCall call);

// `CODE REASON`, or the code alone where there is no reason.
std::string CodeAndReasonOf(const absl::Status& status);

// Whether the API announces this error for the call, busy and broken connections left aside.
// `after_break`: an earlier attempt had no answer, so that it may have been done already.
bool IsAnnounced(SoakCall call, const absl::Status& status, bool after_break);

// Any thread.
class SoakTally {
 public:
  // One attempt of a call.
  void Count(SoakCall call, const absl::Status& status, absl::Duration duration)
      ABSL_LOCKS_EXCLUDED(mutex_);
  uint64_t attempts() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Calls that never succeeded.
  std::vector<std::string> NeverDone() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Calls by kind with p50 and p99 of those that succeeded, errors by call and reason.
  std::string Table() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Figures {
    std::vector<float> milliseconds;  // of each success
    std::map<std::string, uint64_t> errors;
  };

  mutable absl::Mutex mutex_;
  uint64_t attempts_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<SoakCall, Figures> figures_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta::testing

#include "server/http/commit_uploads.h"

#include "absl/random/random.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr char kPrefix[] = "hub-commit/";
constexpr uint32_t kPageSize = 100;

}  // namespace

std::string NewCommitRequestId() {
  absl::BitGen random;
  const auto part = [&random] {
    return absl::Hex(absl::Uniform<uint64_t>(random), absl::kZeroPad16);
  };
  return absl::StrCat(kPrefix, part(), part());
}

absl::Status CancelCommitUploads(Uploads& uploads) {
  std::string after;
  do {
    WDELTA_ASSIGN_OR_RETURN(const Page<UploadView> page, uploads.ListOpen(after, kPageSize));
    for (const UploadView& upload : page.items) {
      if (!absl::StartsWith(upload.record.request_id(), kPrefix)) continue;
      const absl::Status cancelled = uploads.Cancel(upload.record.id());
      const bool has_ended = absl::IsNotFound(cancelled) || absl::IsFailedPrecondition(cancelled);
      if (!cancelled.ok() && !has_ended) return cancelled;
    }
    after = page.next;
  } while (!after.empty());
  return absl::OkStatus();
}

}  // namespace wdelta

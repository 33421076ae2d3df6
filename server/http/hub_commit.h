// The body of a commit: lines of JSON, one an operation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/digest.h"

namespace wdelta {

struct HubCommit {
  // A file of content that was sent before.
  struct Add {
    std::string path;
    Digest digest;
    std::optional<uint64_t> size_bytes;  // clients leave it out of copies
  };
  // A file, or with a `/` at its end all files below a folder.
  struct Remove {
    std::string path;
  };
  std::string summary;
  std::string parent_commit;  // empty: any
  std::vector<std::variant<Add, Remove>> operations;
};

// Takes the body piece by piece, and holds no more of it than a line, the last header's
// texts, which are shorter than one, and its operations with at most kMaxCommitPathBytes of
// paths. One thread at a time.
class HubCommitParser {
 public:
  // Keeps content that stands in the body itself under its digest.
  using KeepContent = std::function<absl::Status(const Digest& digest, absl::string_view content)>;

  explicit HubCommitParser(KeepContent keep_content) : keep_content_(std::move(keep_content)) {}

  // INVALID_ARGUMENT (`BAD_BODY`, naming line and field), RESOURCE_EXHAUSTED
  // (`BODY_TOO_LARGE`: a line of more than kMaxCommitLineBytes, more than
  // kMaxEntriesPerUpload operations, or more than kMaxCommitPathBytes of paths), and what
  // `keep_content` returns.
  absl::Status Feed(absl::string_view data);
  // Likewise, at the end of the body.
  absl::StatusOr<HubCommit> Finish();

 private:
  absl::Status TakeLine();
  absl::Status CountPath(const std::string& what, const std::string& path);
  absl::Status TakeFile(const std::string& what, const std::string& path, bool is_base64,
                        const std::string& content);

  const KeepContent keep_content_;
  HubCommit commit_;
  bool has_header_ = false;
  std::string line_;
  uint64_t line_number_ = 0;
  size_t path_bytes_ = 0;  // of the operations
};

}  // namespace wdelta

// A file that gets its name only when it is whole.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

inline constexpr absl::string_view kPartSuffix = ".wdelta-part";

// Writes `.<name>.wdelta-part` beside the destination; Commit renames it. What is
// not committed is removed by the destructor. Bytes are not synced: a power loss
// may take them, as with any copy. One thread at a time.
class PartFile {
 public:
  // Creates missing folders. Replaces an existing file at Commit.
  static absl::StatusOr<PartFile> Create(const std::string& destination);
  ~PartFile();
  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&&) = delete;

  // RESOURCE_EXHAUSTED (reason `DISK_FULL`) when there is no space.
  absl::Status Append(absl::string_view data);
  absl::Status Commit();

 private:
  PartFile(std::string destination, std::string part, int descriptor)
      : destination_(std::move(destination)), part_(std::move(part)), descriptor_(descriptor) {}

  std::string destination_;
  std::string part_;
  int descriptor_;  // owned; -1 after Commit or a move
};

}  // namespace wdelta

// A file that gets its name only when it is whole.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

inline constexpr absl::string_view kPartSuffix = ".wdelta-part";
inline constexpr size_t kPartTagBytes = 16;

// Writes `.<name>.wdelta-part`, or `.<name>.<tag>.wdelta-part`, beside the destination;
// Commit renames it. What is not committed is removed by the destructor, unless it is to
// be kept. Bytes are not synced: a power loss
// may take them, as with any copy. One thread at a time.
class PartFile {
 public:
  // Creates missing folders. Replaces an existing file at Commit.
  static absl::StatusOr<PartFile> Create(const std::string& destination);
  // Goes on with what an earlier one of the same `tag` left, if that is no more than
  // `max_bytes`. The tag, kPartTagBytes of [0-9a-f], says what the file
  // will hold.
  static absl::StatusOr<PartFile> Resume(const std::string& destination, const std::string& tag,
                                         uint64_t max_bytes);
  ~PartFile();
  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&&) = delete;

  // RESOURCE_EXHAUSTED (reason `DISK_FULL`) when there is no space.
  absl::Status Append(absl::string_view data);
  // Also removes what is left of other transfers to the same destination.
  absl::Status Commit();

  // What is not committed stays for a later Resume.
  void KeepUnfinished() { is_kept_ = true; }
  const std::string& part_name() const { return part_; }
  // That an earlier one had written.
  uint64_t resumed_bytes() const { return resumed_bytes_; }

 private:
  static absl::StatusOr<PartFile> Open(const std::string& destination, const std::string& part_name,
                                       int flags);
  PartFile(std::string destination, std::string part, int descriptor)
      : destination_(std::move(destination)), part_(std::move(part)), descriptor_(descriptor) {}

  std::string destination_;
  std::string part_;
  int descriptor_;  // owned; -1 after Commit or a move
  uint64_t resumed_bytes_ = 0;
  bool is_kept_ = false;
};

}  // namespace wdelta

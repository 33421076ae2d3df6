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
// be kept. Bytes are not synced: a power loss may take them, as with any copy. One thread
// at a time.
//
// The part is locked (flock) from the beginning to the end, so that no other PartFile, of
// this process or another, writes it: making a second one is ABORTED (reason `PART_IN_USE`).
// On a file system without locks two may write one part; then its size is wrong and Commit
// refuses it.
class PartFile {
 public:
  // Creates missing folders. Replaces an existing file at Commit.
  static absl::StatusOr<PartFile> Create(const std::string& destination);
  // Goes on with what an earlier one of the same `tag` left, if that is no more than
  // `max_bytes`. The tag, kPartTagBytes of [0-9a-f], says what the file
  // will hold.
  static absl::StatusOr<PartFile> Resume(const std::string& destination, const std::string& tag,
                                         uint64_t max_bytes);
  // What Resume calls the part, and what Create does.
  static std::string NameOf(const std::string& destination, const std::string& tag);
  static std::string FreshNameOf(const std::string& destination);
  ~PartFile();
  PartFile(PartFile&& other) noexcept;
  PartFile& operator=(PartFile&&) = delete;

  // RESOURCE_EXHAUSTED (reason `DISK_FULL`) when there is no space.
  absl::Status Append(absl::string_view data);
  // Also removes what is left of other transfers to the same destination that go on no more.
  // ABORTED (reason `PART_CHANGED`) when the part is not what was appended, or is gone.
  absl::Status Commit();

  // What is not committed stays for a later Resume.
  void KeepUnfinished() { is_kept_ = true; }
  const std::string& part_name() const { return part_; }
  // That an earlier one had written.
  uint64_t resumed_bytes() const { return resumed_bytes_; }

 private:
  static absl::StatusOr<PartFile> Open(const std::string& destination, const std::string& part);
  PartFile(std::string destination, std::string part, int descriptor)
      : destination_(std::move(destination)), part_(std::move(part)), descriptor_(descriptor) {}
  absl::Status CutTo(uint64_t size_bytes);
  absl::Status CheckUnchanged() const;

  std::string destination_;
  std::string part_;
  int descriptor_;  // owned, and with it the lock; -1 after Commit or a move
  uint64_t resumed_bytes_ = 0;
  uint64_t size_bytes_ = 0;  // that the part should have
  bool is_kept_ = false;
};

// Makes `destination` another name of the file `from`, in the place of what has that name.
// False: it could not be, across file systems for example.
bool LinkInPlace(const std::string& from, const std::string& destination);

}  // namespace wdelta

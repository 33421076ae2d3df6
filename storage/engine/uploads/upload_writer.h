// Writing pieces of an upload; part of uploads.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/digest.h"

namespace wdelta {

// Writes pieces of one upload, in order within each entry. One thread at a time.
// The destructor gives entries back; bytes not synced are written again by the
// client.
class UploadWriter {
 public:
  virtual ~UploadWriter() = default;
  // OUT_OF_RANGE (`WRONG_OFFSET`, details `expected` and `found`), NOT_FOUND
  // (`ENTRY_NOT_FOUND`), INVALID_ARGUMENT (`PAST_END`), ABORTED (`ENTRY_BUSY`),
  // RESOURCE_EXHAUSTED (`DISK_FULL`).
  virtual absl::Status Write(const std::string& path, uint64_t offset, absl::string_view data) = 0;
  // Appends content that the store has, SHA-256 and size as given, by decoding it, in steps
  // between which others may have a turn: begins it. Only CopyStep may follow until it is
  // done. Further: NOT_FOUND (`CONTENT_NOT_FOUND`): it is not there, or damaged; send it.
  virtual absl::Status StartCopy(const std::string& path, uint64_t offset, const Digest& sha256,
                                 uint64_t size_bytes) = 0;
  // Appends at most about limits::kCopyStepBytes of it; true when it is done. Asks between
  // pieces of kFetchPieceBytes whether it is cancelled: CANCELLED. After an error nothing of
  // the content was written, and what was written before stays.
  virtual absl::StatusOr<bool> CopyStep(const std::function<bool()>& is_cancelled) = 0;
  // All of it at once.
  absl::Status Copy(const std::string& path, uint64_t offset, const Digest& sha256,
                    uint64_t size_bytes);
  // Makes everything written durable; returns the bytes written through this
  // writer.
  virtual absl::StatusOr<uint64_t> Sync() = 0;
};

}  // namespace wdelta

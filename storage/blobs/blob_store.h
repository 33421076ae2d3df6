// Immutable, content-addressed blobs: where the bytes of models lie.
//
// Written so that an S3-compatible store can implement it and several daemons can
// share it: no call assumes that this process is the only one. Every
// implementation passes tests/conformance/blob_store_suite.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/digest.h"

namespace wdelta {

struct BlobInfo {
  Digest digest;
  uint64_t size_bytes = 0;
};

struct BlobPage {
  std::vector<BlobInfo> blobs;  // in order of digest
  bool more = false;            // go on after the last one
};

enum class PutResult { kCreated, kExisted, kReplaced };

// Any thread may call it. A foreign error becomes UNAVAILABLE when a retry may
// help, RESOURCE_EXHAUSTED (`DISK_FULL`) for a full disk, DATA_LOSS for damage.
class BlobStore {
 public:
  virtual ~BlobStore() = default;

  // Stores `data` under its SHA-256 unless it is there. What is there is read and
  // compared first, and replaced when it is damaged. Durable once it returns.
  // INVALID_ARGUMENT: `digest` is not that of `data`, or more than kMaxBlobBytes.
  virtual absl::StatusOr<PutResult> Put(const Digest& digest, absl::string_view data) = 0;

  // Bytes [offset, offset + size). NOT_FOUND; OUT_OF_RANGE past the end.
  virtual absl::StatusOr<std::string> Get(const Digest& digest, uint64_t offset, uint64_t size) = 0;

  // The same into `destination`, for callers who verify the bytes: damage need not be seen.
  virtual absl::Status ReadUnverified(const Digest& digest, uint64_t offset, uint64_t size,
                                      char* destination);

  // NOT_FOUND when absent.
  virtual absl::StatusOr<BlobInfo> Stat(const Digest& digest) = 0;

  // Blobs with a digest greater than `after` (empty: from the first).
  virtual absl::StatusOr<BlobPage> List(const std::string& after_hex, uint32_t limit) = 0;

  // Absence is fine. Durable once it returns.
  virtual absl::Status Delete(const Digest& digest) = 0;
};

}  // namespace wdelta

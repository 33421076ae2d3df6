// How far a database has come, written beside it, so that one that comes back with less is
// noticed.
//
// The log of a RocksDB database ends where a record is damaged: a flipped bit amid it looks
// like the torn end of a loss of power, and what was acknowledged behind it is gone without
// a word. After each synced write the database's number of the last write is recorded here.
// It counts as found only when no number is missing before it: each log has to go on where the
// tables, or the log before, end.
// Only what is durable is ever recorded, so the file, which is not synced, may lag behind
// the database after a loss of power, and never leads.
//
// HIGH_WATER: two slots at offsets 0 and 4096, written in turn, so that a torn write leaves
// the other one. A slot: `wdeltaHW`, the number as u64, CRC-32C of both as u32; little-endian.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace wdelta {

// Any thread may call it. Owns an open file.
class HighWaterMark {
 public:
  static std::string PathIn(const std::string& folder) { return folder + "/HIGH_WATER"; }

  // What was recorded last; nullopt when there is no file. DATA_LOSS (`HIGH_WATER_DAMAGED`)
  // when neither slot is whole.
  static absl::StatusOr<std::optional<uint64_t>> Read(const std::string& folder);
  // Goes on with `number`. A file that is absent, damaged or of a larger number is replaced,
  // durably; errors of that name the path.
  static absl::StatusOr<std::unique_ptr<HighWaterMark>> Open(const std::string& folder,
                                                             uint64_t number);
  // Syncs the file, as far as it can.
  ~HighWaterMark();
  HighWaterMark(const HighWaterMark&) = delete;
  HighWaterMark& operator=(const HighWaterMark&) = delete;

  // Records that everything up to `number` is durable; no less than before counts. Survives
  // the process once it returns OK. After an error the number before is still recorded.
  absl::Status Raise(uint64_t number) ABSL_LOCKS_EXCLUDED(mutex_);
  uint64_t number() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  HighWaterMark(std::string path, int fd, uint64_t number, int next_slot)
      : path_(std::move(path)), fd_(fd), number_(number), next_slot_(next_slot) {}

  const std::string path_;
  const int fd_;
  mutable absl::Mutex mutex_;
  uint64_t number_ ABSL_GUARDED_BY(mutex_);
  int next_slot_ ABSL_GUARDED_BY(mutex_);  // the one that does not hold number_
};

}  // namespace wdelta

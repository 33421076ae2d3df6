// A `.wdelta` that is made while it is sent: one thread encodes, another takes the pieces.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/base/digest.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/content/cursor.h"
#include "storage/engine/delta_fetch/delta_route.h"

namespace wdelta {

// At most kFoldedPiecesAhead pieces of kFetchPieceBytes wait to be taken, beside the one that
// is filled and what EncodeDelta holds; a slow taker holds the encoder up, but is given up when
// it takes none for `max_wait`. SetWaker, TryNext and Cancel as of a Cursor. Shared by the two
// threads.
class FoldedStream {
 public:
  // The first `skip_bytes` are encoded and left out. `pool` must outlive Run.
  FoldedStream(DeltaStep step, uint64_t skip_bytes, ThreadPool* pool, absl::Duration max_wait)
      : pool_(pool), skip_bytes_(skip_bytes), max_wait_(max_wait), step_(std::move(step)) {}
  FoldedStream(const FoldedStream&) = delete;
  FoldedStream& operator=(const FoldedStream&) = delete;

  // Encodes, until the end or Cancel, in this thread, which must not be one of the pool's.
  // Once. Has let go of the models before the end can be seen.
  void Run() ABSL_LOCKS_EXCLUDED(mutex_);

  void SetWaker(std::function<void()> waker) ABSL_LOCKS_EXCLUDED(mutex_);
  // Errors: as EncodeFolded; OUT_OF_RANGE (`OFFSET_PAST_END`) when the file ends before what
  // was to be skipped; DEADLINE_EXCEEDED (`SLOW_READER`).
  absl::StatusOr<Cursor::Step> TryNext() ABSL_LOCKS_EXCLUDED(mutex_);
  void Cancel() ABSL_LOCKS_EXCLUDED(mutex_);
  // `SLOW_READER` once the taker is given up, of which the waker tells although it did not
  // wait: it may be held up where it does not call TryNext.
  absl::Status CheckTaker() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Of the whole file, what was skipped too. After kEnd.
  Digest sha256() const { return hasher_.Current(); }

 private:
  absl::Status Append(absl::string_view bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status PushPiece() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CheckAlive() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Finish() ABSL_LOCKS_EXCLUDED(mutex_);
  void End(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mutex_);
  // To be called without the lock; may be empty.
  std::function<void()> TakeWaker() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  ThreadPool* const pool_;
  const uint64_t skip_bytes_;
  const absl::Duration max_wait_;
  // Of the encoding thread until the end.
  DeltaStep step_;
  uint64_t size_bytes_ = 0;
  Sha256Hasher hasher_;
  std::string piece_;

  mutable absl::Mutex mutex_;
  std::deque<CursorPiece> pieces_ ABSL_GUARDED_BY(mutex_);
  bool has_ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);      // of the end
  absl::Status slow_taker_ ABSL_GUARDED_BY(mutex_);  // not OK: it is given up
  bool is_cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool wants_wake_ ABSL_GUARDED_BY(mutex_) = false;
  std::function<void()> waker_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

// An ordered stream of a model's bytes, decoded ahead in parallel.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/content/piece_buffers.h"
#include "storage/engine/content/piece_plan.h"

namespace wdelta {

struct CursorPiece {
  std::string data;
  uint32_t crc32c = 0;  // of `data`
};

// Bytes [offset, offset + size) of a stream.
struct StreamRange {
  uint32_t stream = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};

// Pieces that a cursor decodes ahead in a pool of so many threads: enough to keep every
// thread busy while others wait to be sent.
constexpr int WindowPieces(int threads) { return 2 * threads + 2; }

// Yields the pieces of a plan, or concatenated ranges as pieces of at most kFetchPieceBytes.
// At most `window` pieces are decoded ahead, so memory is bounded by window times piece
// size whatever is read. TryNext, Next and Cancel: one thread at a time.
//
// Lets go of its source when the last piece was taken; after an error or Cancel, when
// the pieces being decoded are done.
class Cursor : public std::enable_shared_from_this<Cursor> {
 public:
  // `pool` must outlive the cursor's tasks: destroy cursors before the pool, or let
  // the pool drain. Pieces lie in memory of `buffers`, to which who takes them may give it
  // back.
  static std::shared_ptr<Cursor> Create(ContentSourcePtr source, std::vector<StreamRange> ranges,
                                        ThreadPool* pool, int window,
                                        std::shared_ptr<PieceBuffers> buffers);
  static std::shared_ptr<Cursor> Create(ContentSourcePtr source,
                                        std::unique_ptr<const PiecePlan> plan, ThreadPool* pool,
                                        int window, std::shared_ptr<PieceBuffers> buffers);

  // Called from a pool thread, once for every TryNext that found nothing ready, when
  // the next piece is. Must not block. Set it before the first TryNext.
  void SetWaker(std::function<void()> waker) ABSL_LOCKS_EXCLUDED(mutex_);

  enum class Progress { kPiece, kWait, kEnd };
  struct Step {
    Progress progress = Progress::kEnd;
    CursorPiece piece;  // with kPiece
  };
  // Never blocks. kWait: the waker will be called. After an error or kEnd there is
  // nothing more.
  absl::StatusOr<Step> TryNext() ABSL_LOCKS_EXCLUDED(mutex_);

  // Blocks; nullopt at the end. For callers without a waker.
  absl::StatusOr<std::optional<CursorPiece>> Next() ABSL_LOCKS_EXCLUDED(mutex_);

  // Starts no further work; pieces being decoded are dropped when they are done. The
  // waker may still be running once.
  void Cancel() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Slot {
    bool ready = false;
    absl::Status status;
    CursorPiece piece;
  };

  Cursor(ContentSourcePtr source, std::unique_ptr<const PiecePlan> plan, ThreadPool* pool,
         int window, std::shared_ptr<PieceBuffers> buffers)
      : plan_(std::move(plan)),
        pool_(pool),
        window_(window),
        buffers_(std::move(buffers)),
        source_(std::move(source)) {}

  // Makes slots for the pieces that may be decoded next, which the caller then gives to
  // Schedule: [first, second) of the plan.
  using Claimed = std::pair<size_t, size_t>;
  Claimed ClaimMore() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Schedule(Claimed claimed) ABSL_LOCKS_EXCLUDED(mutex_);
  void DecodePiece(size_t index) ABSL_LOCKS_EXCLUDED(mutex_);
  bool FrontReadyOrEnd() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Step> TakeFront(Claimed& claimed) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Stop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::unique_ptr<const PiecePlan> plan_;
  ThreadPool* const pool_;
  const size_t window_;
  const std::shared_ptr<PieceBuffers> buffers_;

  absl::Mutex mutex_;
  ContentSourcePtr source_ ABSL_GUARDED_BY(mutex_);  // null once no piece is left to decode
  std::function<void()> waker_ ABSL_GUARDED_BY(mutex_);
  bool wants_wake_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  size_t next_to_schedule_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t next_to_yield_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<std::shared_ptr<Slot>> slots_ ABSL_GUARDED_BY(mutex_);  // from next_to_yield_
};

}  // namespace wdelta

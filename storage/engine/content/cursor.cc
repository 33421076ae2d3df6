#include "storage/engine/content/cursor.h"

#include <algorithm>
#include <utility>

#include "storage/base/checksum.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

// Cuts ranges at chunk boundaries, so that no chunk is decoded for two pieces, and
// gathers the cuts into pieces of at most kFetchPieceBytes.
std::vector<std::vector<StreamRange>> GatherPieces(const std::vector<StreamRange>& ranges) {
  std::vector<std::vector<StreamRange>> pieces;
  uint64_t room_bytes = 0;
  for (StreamRange range : ranges) {
    while (range.size > 0) {
      const uint64_t to_boundary = limits::kChunkBytes - range.offset % limits::kChunkBytes;
      const uint64_t cut = std::min(range.size, to_boundary);
      if (cut > room_bytes) {
        pieces.emplace_back();
        room_bytes = limits::kFetchPieceBytes;
      }
      std::vector<StreamRange>& piece = pieces.back();
      if (!piece.empty() && piece.back().stream == range.stream &&
          piece.back().offset + piece.back().size == range.offset) {
        piece.back().size += cut;
      } else {
        piece.push_back({range.stream, range.offset, cut});
      }
      room_bytes -= cut;
      range.offset += cut;
      range.size -= cut;
    }
  }
  return pieces;
}

class RangePieces final : public PiecePlan {
 public:
  explicit RangePieces(const std::vector<StreamRange>& ranges) : pieces_(GatherPieces(ranges)) {}
  size_t piece_count() const override { return pieces_.size(); }
  absl::Status Read(const ContentSource& source, size_t index, std::string& bytes) const override {
    uint64_t total_bytes = 0;
    for (const StreamRange& range : pieces_[index]) total_bytes += range.size;
    bytes.resize(total_bytes);
    uint64_t filled_bytes = 0;
    for (const StreamRange& range : pieces_[index]) {
      WDELTA_RETURN_IF_ERROR(
          source.Read(range.stream, range.offset, range.size, bytes.data() + filled_bytes));
      filled_bytes += range.size;
    }
    return absl::OkStatus();
  }

 private:
  const std::vector<std::vector<StreamRange>> pieces_;
};

}  // namespace

std::shared_ptr<Cursor> Cursor::Create(ContentSourcePtr source, std::vector<StreamRange> ranges,
                                       ThreadPool* pool, int window,
                                       std::shared_ptr<PieceBuffers> buffers) {
  return Create(std::move(source), std::make_unique<const RangePieces>(ranges), pool, window,
                std::move(buffers));
}

std::shared_ptr<Cursor> Cursor::Create(ContentSourcePtr source,
                                       std::unique_ptr<const PiecePlan> plan, ThreadPool* pool,
                                       int window, std::shared_ptr<PieceBuffers> buffers) {
  std::shared_ptr<Cursor> cursor(
      new Cursor(std::move(source), std::move(plan), pool, window, std::move(buffers)));
  Claimed claimed;
  {
    absl::MutexLock lock(&cursor->mutex_);
    claimed = cursor->ClaimMore();
  }
  cursor->Schedule(claimed);
  return cursor;
}

Cursor::Claimed Cursor::ClaimMore() {
  const size_t begin = next_to_schedule_;
  if (next_to_yield_ == plan_->piece_count()) source_.reset();
  while (!cancelled_ && next_to_schedule_ < plan_->piece_count() &&
         next_to_schedule_ - next_to_yield_ < window_) {
    slots_.push_back(std::make_shared<Slot>());
    ++next_to_schedule_;
  }
  return {begin, next_to_schedule_};
}

void Cursor::Schedule(Claimed claimed) {
  for (size_t index = claimed.first; index < claimed.second; ++index) {
    pool_->Schedule([self = shared_from_this(), index] { self->DecodePiece(index); });
  }
}

void Cursor::DecodePiece(size_t index) {
  std::shared_ptr<Slot> slot;
  ContentSourcePtr source;
  {
    absl::MutexLock lock(&mutex_);
    if (cancelled_) return;
    slot = slots_[index - next_to_yield_];
    source = source_;
  }
  CursorPiece piece;
  piece.data = buffers_->Take();
  absl::Status status = plan_->Read(*source, index, piece.data);
  if (status.ok()) piece.crc32c = Crc32c(piece.data);
  source.reset();  // before the piece is seen: its reader may have the last word on the source

  std::function<void()> waker;
  {
    absl::MutexLock lock(&mutex_);
    slot->status = std::move(status);
    slot->piece = std::move(piece);
    slot->ready = true;
    if (wants_wake_ && !cancelled_ && FrontReadyOrEnd()) {
      wants_wake_ = false;
      waker = waker_;
    }
  }
  if (waker) waker();
}

bool Cursor::FrontReadyOrEnd() const {
  return cancelled_ || slots_.empty() || slots_.front()->ready;
}

void Cursor::SetWaker(std::function<void()> waker) {
  absl::MutexLock lock(&mutex_);
  waker_ = std::move(waker);
}

absl::StatusOr<Cursor::Step> Cursor::TakeFront(Claimed& claimed) {
  if (cancelled_ || slots_.empty()) return Step{};
  const std::shared_ptr<Slot> slot = slots_.front();
  slots_.pop_front();
  ++next_to_yield_;
  if (!slot->status.ok()) {
    Stop();
    return slot->status;
  }
  claimed = ClaimMore();
  return Step{Progress::kPiece, std::move(slot->piece)};
}

absl::StatusOr<Cursor::Step> Cursor::TryNext() {
  Claimed claimed;
  absl::StatusOr<Step> step;
  {
    absl::MutexLock lock(&mutex_);
    if (!FrontReadyOrEnd()) {
      wants_wake_ = true;
      return Step{Progress::kWait, {}};
    }
    step = TakeFront(claimed);
  }
  Schedule(claimed);
  return step;
}

absl::StatusOr<std::optional<CursorPiece>> Cursor::Next() {
  {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Cursor::FrontReadyOrEnd));
  }
  // Only this thread takes what is ready.
  WDELTA_ASSIGN_OR_RETURN(Step step, TryNext());
  if (step.progress == Progress::kEnd) return std::optional<CursorPiece>();
  return std::optional<CursorPiece>(std::move(step.piece));
}

void Cursor::Cancel() {
  absl::MutexLock lock(&mutex_);
  waker_ = nullptr;
  Stop();
}

void Cursor::Stop() {
  cancelled_ = true;
  slots_.clear();
  source_.reset();
}

}  // namespace wdelta

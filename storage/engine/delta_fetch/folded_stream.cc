#include "storage/engine/delta_fetch/folded_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {

void FoldedStream::Run() {
  absl::Status status = EncodeFolded(
      step_, pool_, [this] { return CheckAlive(); },
      [this](absl::string_view bytes) { return Append(bytes); });
  if (status.ok()) status = Finish();
  step_ = DeltaStep();
  End(status);
}

absl::Status FoldedStream::Finish() {
  if (size_bytes_ < skip_bytes_) {
    return MakeError(absl::StatusCode::kOutOfRange, "OFFSET_PAST_END",
                     absl::StrCat("delta: expected an offset of at most ", size_bytes_, ", found ",
                                  skip_bytes_));
  }
  return piece_.empty() ? absl::OkStatus() : PushPiece();
}

absl::Status FoldedStream::Append(absl::string_view bytes) {
  hasher_.Update(bytes);
  const uint64_t left_out =
      std::min<uint64_t>(bytes.size(), skip_bytes_ - std::min(skip_bytes_, size_bytes_));
  size_bytes_ += bytes.size();
  bytes.remove_prefix(left_out);
  while (!bytes.empty()) {
    const size_t taken = std::min(bytes.size(), limits::kFetchPieceBytes - piece_.size());
    piece_.append(bytes.data(), taken);
    bytes.remove_prefix(taken);
    if (piece_.size() == limits::kFetchPieceBytes) WDELTA_RETURN_IF_ERROR(PushPiece());
  }
  return absl::OkStatus();
}

bool FoldedStream::HasRoom() const {
  return is_cancelled_ || pieces_.size() < limits::kFoldedPiecesAhead;
}

absl::Status FoldedStream::PushPiece() {
  CursorPiece piece{std::exchange(piece_, {}), 0};
  piece.crc32c = Crc32c(piece.data);
  std::function<void()> waker;
  {
    absl::MutexLock lock(&mutex_);
    if (!mutex_.AwaitWithTimeout(absl::Condition(this, &FoldedStream::HasRoom), max_wait_)) {
      pieces_.clear();
      slow_taker_ =
          MakeError(absl::StatusCode::kDeadlineExceeded, "SLOW_READER",
                    absl::StrCat("the client took no piece for ", absl::FormatDuration(max_wait_)));
      return slow_taker_;
    }
    if (is_cancelled_) return absl::CancelledError("nobody wants the delta any more");
    pieces_.push_back(std::move(piece));
    waker = TakeWaker();
  }
  if (waker) waker();
  return absl::OkStatus();
}

absl::Status FoldedStream::CheckAlive() {
  absl::MutexLock lock(&mutex_);
  if (!is_cancelled_) return absl::OkStatus();
  return absl::CancelledError("nobody wants the delta any more");
}

void FoldedStream::End(const absl::Status& status) {
  std::function<void()> waker;
  {
    absl::MutexLock lock(&mutex_);
    status_ = status;
    has_ended_ = true;
    if (!slow_taker_.ok()) wants_wake_ = true;
    waker = TakeWaker();
  }
  if (waker) waker();
}

std::function<void()> FoldedStream::TakeWaker() {
  return std::exchange(wants_wake_, false) ? waker_ : nullptr;
}

void FoldedStream::SetWaker(std::function<void()> waker) {
  absl::MutexLock lock(&mutex_);
  waker_ = std::move(waker);
}

absl::StatusOr<Cursor::Step> FoldedStream::TryNext() {
  absl::MutexLock lock(&mutex_);
  if (is_cancelled_) return Cursor::Step{};
  if (!pieces_.empty()) {
    Cursor::Step step{Cursor::Progress::kPiece, std::move(pieces_.front())};
    pieces_.pop_front();
    return step;
  }
  if (!has_ended_) {
    wants_wake_ = true;
    return Cursor::Step{Cursor::Progress::kWait, {}};
  }
  WDELTA_RETURN_IF_ERROR(std::exchange(status_, absl::OkStatus()));
  return Cursor::Step{};
}

absl::Status FoldedStream::CheckTaker() const {
  absl::MutexLock lock(&mutex_);
  return slow_taker_;
}

void FoldedStream::Cancel() {
  absl::MutexLock lock(&mutex_);
  is_cancelled_ = true;
  waker_ = nullptr;
  pieces_.clear();
}

}  // namespace wdelta

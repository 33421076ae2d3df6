#include "server/rpc/tensor_producer.h"

#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/rpc/tensor_selection.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using Progress = Cursor::Progress;

// A tensor of the stream, and the first of its bytes that is sent.
struct StreamPosition {
  size_t selection = 0;
  size_t index = 0;  // in its tensors
  uint64_t offset = 0;
};

// Header, pieces and trailer of each tensor. Every tensor has a cursor of its own;
// those of the next few are opened ahead, so that small tensors are decoded in
// parallel too.
class ManyTensors final : public TensorsProducer {
 public:
  ManyTensors(Reader* reader, std::vector<OpenSelection> selections, const StreamPosition& begin)
      : reader_(*reader), selections_(std::move(selections)), next_(begin) {}

  void SetWaker(std::function<void()> waker) override { waker_ = std::move(waker); }

  void Cancel() override {
    for (const Ahead& ahead : ahead_) ahead.cursor->Cancel();
  }

  absl::StatusOr<Progress> Next(v1::FetchTensorsResponse& message) override {
    OpenAhead();
    if (ahead_.empty()) return Progress::kEnd;
    Ahead& current = ahead_.front();
    if (!header_sent_) {
      FillHeader(current, message.mutable_header());
      header_sent_ = true;
      sent_bytes_ = 0;
      hasher_.reset();
      if (IsWhole(current) && !DigestOf(current).has_value()) hasher_.emplace();
      return Progress::kPiece;
    }
    WDELTA_ASSIGN_OR_RETURN(Cursor::Step step, current.cursor->TryNext());
    if (step.progress == Progress::kWait) return Progress::kWait;
    if (step.progress == Progress::kPiece) {
      if (hasher_.has_value()) hasher_->Update(step.piece.data);
      const uint64_t size_bytes = step.piece.data.size();
      FillPiece(std::move(step.piece), current.at.offset + sent_bytes_, message.mutable_piece());
      sent_bytes_ += size_bytes;
      return Progress::kPiece;
    }
    FillTrailer(current, message.mutable_trailer());
    header_sent_ = false;
    CloseFront();
    return Progress::kPiece;
  }

 private:
  struct Ahead {
    StreamPosition at;
    std::optional<TensorSlice> slice;
    uint64_t length_bytes = 0;  // that are sent
    std::shared_ptr<Cursor> cursor;
  };

  // `ahead_bytes_` counts the tensors behind the current one. The last one opened may
  // be of any size: its window bounds what is decoded of it.
  void OpenAhead() {
    while (next_.selection < selections_.size() && ahead_.size() < limits::kMaxFetchAheadTensors &&
           (ahead_.size() < 2 || ahead_bytes_ < limits::kFetchAheadBytes)) {
      Ahead ahead = Open(next_);
      if (!ahead_.empty()) ahead_bytes_ += ahead.length_bytes;
      ahead.cursor->SetWaker(waker_);
      ahead_.push_back(std::move(ahead));
      next_.offset = 0;
      if (++next_.index < selections_[next_.selection].tensors.size()) continue;
      next_.index = 0;
      ++next_.selection;
    }
  }

  Ahead Open(const StreamPosition& at) {
    const OpenSelection& selection = selections_[at.selection];
    const uint32_t stream = selection.tensors[at.index].stream;
    Ahead ahead{at, selection.SliceAt(at.index), 0, nullptr};
    if (ahead.slice.has_value()) {
      ahead.length_bytes = ahead.slice->size_bytes() - at.offset;
      ahead.cursor = reader_.NewSliceCursor(selection.source, stream, *ahead.slice, at.offset);
    } else {
      ahead.length_bytes = selection.TensorAt(at.index).size_bytes - at.offset;
      ahead.cursor = reader_.NewCursor(selection.source, {{stream, at.offset, ahead.length_bytes}});
    }
    return ahead;
  }

  // The source of a selection is let go of with its last tensor.
  void CloseFront() {
    const size_t selection = ahead_.front().at.selection;
    ahead_.pop_front();
    if (!ahead_.empty()) ahead_bytes_ -= ahead_.front().length_bytes;
    const size_t now = ahead_.empty() ? next_.selection : ahead_.front().at.selection;
    if (now != selection) selections_[selection].source.reset();
  }

  static bool IsWhole(const Ahead& ahead) {
    return !ahead.slice.has_value() && ahead.at.offset == 0;
  }

  std::optional<Digest> DigestOf(const Ahead& ahead) const {
    const OpenSelection& selection = selections_[ahead.at.selection];
    return selection.source->StreamDigest(selection.tensors[ahead.at.index].stream);
  }

  void FillHeader(const Ahead& ahead, v1::TensorHeader* header) const {
    const OpenSelection& selection = selections_[ahead.at.selection];
    const Checkpoint& checkpoint = selection.source->checkpoint();
    const StreamInfo& info = checkpoint.streams[selection.tensors[ahead.at.index].stream];
    header->set_name(info.tensor.name);
    header->set_dtype(std::string(DTypeName(info.tensor.dtype)));
    header->mutable_shape()->Add(info.tensor.shape.begin(), info.tensor.shape.end());
    header->set_file(checkpoint.files[info.file_index].path);
    header->set_size_bytes(info.tensor.size_bytes);
    header->set_model(selection.model);
    if (ahead.slice.has_value()) {
      const AxisSlice& part = ahead.slice->part();
      header->mutable_slice()->set_axis(part.axis);
      header->mutable_slice()->set_start(part.start);
      header->mutable_slice()->set_stop(part.stop);
    }
    header->set_offset(ahead.at.offset);
    header->set_length(ahead.length_bytes);
  }

  void FillTrailer(const Ahead& ahead, v1::Trailer* trailer) {
    trailer->set_sent_bytes(sent_bytes_);
    if (!IsWhole(ahead)) return;
    const Digest digest = hasher_.has_value() ? hasher_->Current() : *DigestOf(ahead);
    trailer->set_sha256(digest.ToHex());
  }

  Reader& reader_;
  std::vector<OpenSelection> selections_;
  std::function<void()> waker_;
  StreamPosition next_;      // to be opened
  std::deque<Ahead> ahead_;  // the current tensor first
  uint64_t ahead_bytes_ = 0;
  bool header_sent_ = false;            // of the current tensor
  uint64_t sent_bytes_ = 0;             // of the current tensor
  std::optional<Sha256Hasher> hasher_;  // when the digest is not known beforehand
};

absl::Status PastEnd(absl::string_view field, uint64_t most, uint64_t found) {
  return MakeError(absl::StatusCode::kOutOfRange, "OFFSET_PAST_END",
                   absl::StrCat(field, ": expected at most ", most, ", found ", found));
}

absl::StatusOr<StreamPosition> FirstPosition(const std::vector<OpenSelection>& selections,
                                             const v1::FetchTensorsRequest& request) {
  StreamPosition position{0, 0, request.first_tensor_offset()};
  uint64_t left = request.first_tensor();
  while (position.selection < selections.size() &&
         left >= selections[position.selection].tensors.size()) {
    left -= selections[position.selection++].tensors.size();
  }
  if (position.selection == selections.size()) {
    if (left > 0)
      return PastEnd("first_tensor", request.first_tensor() - left, request.first_tensor());
    if (position.offset > 0) return PastEnd("first_tensor_offset", 0, position.offset);
    return position;
  }
  position.index = left;
  const uint64_t size_bytes = selections[position.selection].SentBytesAt(position.index);
  if (position.offset > size_bytes) {
    return PastEnd("first_tensor_offset", size_bytes, position.offset);
  }
  return position;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TensorsProducer>> OpenTensors(ModelStore& store,
                                                             const v1::FetchTensorsRequest& request,
                                                             const CheckAlive& check_alive) {
  WDELTA_ASSIGN_OR_RETURN(std::vector<OpenSelection> selections,
                          OpenSelections(store, request, check_alive));
  WDELTA_ASSIGN_OR_RETURN(const StreamPosition begin, FirstPosition(selections, request));
  // Those that are left out need not stay open.
  for (size_t i = 0; i < begin.selection; ++i) selections[i].source.reset();
  return std::make_unique<ManyTensors>(&store.reader(), std::move(selections), begin);
}

}  // namespace wdelta

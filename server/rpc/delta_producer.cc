#include "server/rpc/delta_producer.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/engine/delta_route.h"
#include "storage/engine/folded_stream.h"

namespace wdelta {
namespace {

using Progress = Cursor::Progress;

std::string ResourceName(const std::string& model_id) {
  return model_id.empty() ? "" : absl::StrCat("models/", model_id);
}

// The bytes of one step.
class StepBytes {
 public:
  virtual ~StepBytes() = default;
  virtual void SetWaker(std::function<void()> waker) = 0;
  virtual absl::StatusOr<Cursor::Step> TryNext() = 0;
  virtual void Cancel() = 0;
  // Of all bytes, once they were given; empty when a part was left out.
  virtual std::string Sha256Hex() const = 0;
};

// A file from `offset` on.
class FileTail final : public RandomAccessFile {
 public:
  FileTail(std::shared_ptr<const RandomAccessFile> file, uint64_t offset)
      : file_(std::move(file)), offset_(offset) {}
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    return file_->Read(offset_ + offset, destination, size);
  }
  absl::StatusOr<uint64_t> SizeBytes() const override {
    WDELTA_ASSIGN_OR_RETURN(const uint64_t size_bytes, file_->SizeBytes());
    return size_bytes - offset_;
  }

 private:
  const std::shared_ptr<const RandomAccessFile> file_;
  const uint64_t offset_;
};

class StoredBytes final : public StepBytes {
 public:
  StoredBytes(Reader& reader, const DeltaStep& step, uint64_t offset)
      : sha256_hex_(offset > 0 ? "" : absl::StripPrefix(step.delta_id, "sha256:")),
        cursor_(reader.NewFileCursor(std::make_shared<const FileTail>(step.stored, offset),
                                     step.size_bytes - offset)) {}

  void SetWaker(std::function<void()> waker) override { cursor_->SetWaker(std::move(waker)); }
  absl::StatusOr<Cursor::Step> TryNext() override { return cursor_->TryNext(); }
  void Cancel() override { cursor_->Cancel(); }
  std::string Sha256Hex() const override { return sha256_hex_; }

 private:
  const std::string sha256_hex_;
  const std::shared_ptr<Cursor> cursor_;
};

class FoldedBytes final : public StepBytes {
 public:
  FoldedBytes(RpcEnvironment& environment, Admission::Slot slot, DeltaStep step, uint64_t offset)
      : is_whole_(offset == 0),
        stream_(std::make_shared<FoldedStream>(std::move(step), offset,
                                               &environment.store().codec_pool())) {
    environment.ScheduleComparison(
        [stream = stream_, slot = std::move(slot)]() mutable { stream->Run(); });
  }
  ~FoldedBytes() override { stream_->Cancel(); }

  void SetWaker(std::function<void()> waker) override { stream_->SetWaker(std::move(waker)); }
  absl::StatusOr<Cursor::Step> TryNext() override { return stream_->TryNext(); }
  void Cancel() override { stream_->Cancel(); }
  std::string Sha256Hex() const override { return is_whole_ ? stream_->sha256().ToHex() : ""; }

 private:
  const bool is_whole_;
  const std::shared_ptr<FoldedStream> stream_;
};

// Header, pieces and trailer of each step.
class DeltaFiles final : public FileProducer {
 public:
  // `offset`: of the first step.
  DeltaFiles(RpcEnvironment& environment, std::vector<DeltaStep> steps,
             std::optional<Admission::Slot> slot, uint64_t offset)
      : environment_(environment),
        steps_(std::move(steps)),
        slot_(std::move(slot)),
        offset_(offset) {}

  void SetWaker(std::function<void()> waker) override { waker_ = std::move(waker); }
  void Cancel() override {
    if (bytes_ != nullptr) bytes_->Cancel();
  }

  absl::StatusOr<Progress> Next(v1::FetchFileResponse& message) override {
    if (bytes_ == nullptr) {
      if (next_ == steps_.size()) return Progress::kEnd;
      Begin(*message.mutable_header());
      return Progress::kPiece;
    }
    WDELTA_ASSIGN_OR_RETURN(Cursor::Step step, bytes_->TryNext());
    if (step.progress == Progress::kWait) return Progress::kWait;
    if (step.progress == Progress::kPiece) {
      v1::Piece* const piece = message.mutable_piece();
      piece->set_offset(offset_);
      piece->set_crc32c(step.piece.crc32c);
      offset_ += step.piece.data.size();
      piece->set_data(std::move(step.piece.data));
      return Progress::kPiece;
    }
    message.mutable_trailer()->set_sent_bytes(offset_ - first_offset_);
    message.mutable_trailer()->set_sha256(bytes_->Sha256Hex());
    bytes_.reset();
    offset_ = 0;
    return Progress::kPiece;
  }

 private:
  void Begin(v1::FileHeader& header) {
    // Let go of with the bytes, so that what was sent may be freed.
    DeltaStep step = std::move(steps_[next_++]);
    first_offset_ = offset_;
    header.set_path(absl::StrCat(step.model.id(), ".wdelta"));
    header.set_offset(offset_);
    header.mutable_delta()->set_model(ResourceName(step.model.id()));
    header.mutable_delta()->set_parent_model(ResourceName(step.parent_id));
    header.mutable_delta()->set_delta_id(step.delta_id);
    header.mutable_delta()->set_folded(step.is_folded());
    if (step.is_folded()) {
      bytes_ =
          std::make_unique<FoldedBytes>(environment_, *std::move(slot_), std::move(step), offset_);
    } else {
      header.set_size_bytes(step.size_bytes);
      header.set_length(step.size_bytes - offset_);
      bytes_ = std::make_unique<StoredBytes>(environment_.store().reader(), step, offset_);
    }
    bytes_->SetWaker(waker_);
  }

  RpcEnvironment& environment_;
  std::vector<DeltaStep> steps_;
  std::optional<Admission::Slot> slot_;  // to fold, where that is to be done
  std::function<void()> waker_;
  size_t next_ = 0;                   // in steps_
  std::unique_ptr<StepBytes> bytes_;  // of the current step; null between two
  uint64_t first_offset_ = 0;         // of the current step
  uint64_t offset_ = 0;               // of the next piece
};

absl::StatusOr<std::vector<DeltaStep>> PlanSteps(ModelStore& store,
                                                 const v1::FetchDeltaRequest& request) {
  WDELTA_ASSIGN_OR_RETURN(const Model model, store.models().Resolve(request.model()));
  const RouteTools tools{&store.models(), &store.reader(), &store.codec_pool()};
  if (!request.held_models().empty()) {
    return PlanDeltaRoute(tools, model.record.id(),
                          {request.held_models().begin(), request.held_models().end()});
  }
  WDELTA_ASSIGN_OR_RETURN(DeltaStep step, StoredDeltaOf(tools, model.record.id()));
  std::vector<DeltaStep> steps;
  steps.push_back(std::move(step));
  return steps;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileProducer>> OpenDelta(RpcEnvironment& environment,
                                                        const v1::FetchDeltaRequest& request) {
  WDELTA_ASSIGN_OR_RETURN(std::vector<DeltaStep> steps, PlanSteps(environment.store(), request));
  const DeltaStep& first = steps.front();
  const uint64_t offset = request.delta_id() == first.delta_id ? request.offset() : 0;
  if (!first.is_folded() && offset > first.size_bytes) {
    return MakeError(
        absl::StatusCode::kOutOfRange, "OFFSET_PAST_END",
        absl::StrCat("delta of '", request.model(), "': expected an offset of at most ",
                     first.size_bytes, ", found ", offset));
  }
  std::optional<Admission::Slot> slot =
      first.is_folded() ? environment.comparisons().TryEnter() : std::nullopt;
  if (first.is_folded() && !slot.has_value()) {
    return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_FETCHES",
                     absl::StrCat("expected at most ", environment.comparisons().limit(),
                                  " deltas that are made while they are sent; try later"));
  }
  return std::make_unique<DeltaFiles>(environment, std::move(steps), std::move(slot), offset);
}

}  // namespace wdelta

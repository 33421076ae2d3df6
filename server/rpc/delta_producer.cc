#include "server/rpc/delta_producer.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/rpc/convert.h"
#include "server/rpc/folding_task.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/engine/delta_fetch/delta_route.h"
#include "storage/engine/delta_fetch/folded_stream.h"
#include "storage/engine/records/names.h"

namespace wdelta {
namespace {

using Progress = Cursor::Progress;

std::string ReferenceOf(const std::string& model_id) {
  return model_id.empty() ? "" : IdReference(model_id);
}

// Where it would tell of models that the caller may not name.
absl::Status NoDelta() {
  return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                   "no delta leads to the model from what this token is for; fetch its files");
}

// The bytes of one step.
class StepBytes {
 public:
  virtual ~StepBytes() = default;
  virtual void SetWaker(std::function<void()> waker) = 0;
  virtual absl::StatusOr<Cursor::Step> TryNext() = 0;
  virtual void Cancel() = 0;
  // Of the whole file, once all was given; may be empty when a part was left out.
  virtual std::string Sha256Hex() const = 0;
  virtual absl::Status CheckTaker() const { return absl::OkStatus(); }
};

class StoredBytes final : public StepBytes {
 public:
  StoredBytes(Reader& reader, const DeltaStep& step, uint64_t offset)
      : sha256_hex_(offset > 0 ? "" : absl::StripPrefix(step.delta_id, "sha256:")),
        cursor_(
            reader.NewFileCursor(step.stored, step.size_bytes, step.stored->PiecesFrom(offset))) {}

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
  explicit FoldedBytes(std::shared_ptr<FoldedStream> stream) : stream_(std::move(stream)) {}

  void SetWaker(std::function<void()> waker) override { stream_->SetWaker(std::move(waker)); }
  absl::StatusOr<Cursor::Step> TryNext() override { return stream_->TryNext(); }
  void Cancel() override { stream_->Cancel(); }
  std::string Sha256Hex() const override { return stream_->sha256().ToHex(); }
  absl::Status CheckTaker() const override { return stream_->CheckTaker(); }

 private:
  const std::shared_ptr<FoldedStream> stream_;
};

// Header, pieces and trailer of each step.
class DeltaFiles final : public FileProducer {
 public:
  // `task` plans the route; null: SetRoute gives it.
  DeltaFiles(Reader* reader, ResumePoint resume, NameCheck check_name,
             std::shared_ptr<FoldingTask> task)
      : reader_(*reader),
        resume_(std::move(resume)),
        check_name_(std::move(check_name)),
        task_(std::move(task)) {}
  ~DeltaFiles() override { DeltaFiles::Cancel(); }

  // Once. OUT_OF_RANGE (`OFFSET_PAST_END`), NOT_FOUND (`MODEL_NOT_FOUND`).
  absl::Status SetRoute(FoldingTask::Route route) {
    for (const DeltaStep& step : route.steps) {
      if (!MayName(check_name_, step.model.name())) return NoDelta();
    }
    steps_ = std::move(route.steps);
    folded_ = std::move(route.folded);
    const DeltaStep& first = steps_.front();
    offset_ = resume_.In(first);
    if (first.is_folded() || offset_ <= first.size_bytes) return absl::OkStatus();
    return MakeError(
        absl::StatusCode::kOutOfRange, "OFFSET_PAST_END",
        absl::StrCat("delta of model '", first.model.name(), "': expected an offset of at most ",
                     first.size_bytes, ", found ", offset_));
  }

  void SetWaker(std::function<void()> waker) override {
    waker_ = std::move(waker);
    if (task_ != nullptr) task_->SetWaker(waker_);
  }
  void Cancel() override {
    if (task_ != nullptr) task_->Cancel();
    if (bytes_ != nullptr) bytes_->Cancel();
  }
  absl::Status CheckTaker() const override {
    return bytes_ == nullptr ? absl::OkStatus() : bytes_->CheckTaker();
  }

  absl::StatusOr<Progress> Next(v1::FetchFileResponse& message) override {
    if (steps_.empty()) {
      WDELTA_ASSIGN_OR_RETURN(std::optional<FoldingTask::Route> route, task_->TryTake());
      if (!route.has_value()) return Progress::kWait;
      WDELTA_RETURN_IF_ERROR(SetRoute(*std::move(route)));
    }
    if (bytes_ == nullptr) {
      if (next_ == steps_.size()) return Progress::kEnd;
      Begin(*message.mutable_header());
      return Progress::kPiece;
    }
    WDELTA_ASSIGN_OR_RETURN(Cursor::Step step, bytes_->TryNext());
    if (step.progress == Progress::kWait) return Progress::kWait;
    if (step.progress == Progress::kPiece) {
      const uint64_t size_bytes = step.piece.data.size();
      FillPiece(std::move(step.piece), offset_, message.mutable_piece());
      offset_ += size_bytes;
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
    const DeltaStep step = std::move(steps_[next_++]);
    first_offset_ = offset_;
    header.set_path(absl::StrCat(step.model.id(), ".wdelta"));
    header.set_offset(offset_);
    header.mutable_delta()->set_model(ReferenceOf(step.model.id()));
    header.mutable_delta()->set_parent_model(ReferenceOf(step.parent_id));
    header.mutable_delta()->set_delta_id(step.delta_id);
    header.mutable_delta()->set_folded(step.is_folded());
    if (step.is_folded()) {
      bytes_ = std::make_unique<FoldedBytes>(std::move(folded_));
    } else {
      header.set_size_bytes(step.size_bytes);
      header.set_length(step.size_bytes - offset_);
      bytes_ = std::make_unique<StoredBytes>(reader_, step, offset_);
    }
    bytes_->SetWaker(waker_);
  }

  Reader& reader_;
  const ResumePoint resume_;
  const NameCheck check_name_;
  const std::shared_ptr<FoldingTask> task_;
  std::vector<DeltaStep> steps_;          // empty until they are planned
  std::shared_ptr<FoldedStream> folded_;  // of the only step, if it is folded
  std::function<void()> waker_;
  size_t next_ = 0;                   // in steps_
  std::unique_ptr<StepBytes> bytes_;  // of the current step; null between two
  uint64_t first_offset_ = 0;         // of the current step
  uint64_t offset_ = 0;               // of the next piece
};

absl::StatusOr<std::unique_ptr<FileProducer>> SendSteps(Reader& reader, ResumePoint resume,
                                                        const NameCheck& check_name,
                                                        std::vector<DeltaStep> steps) {
  auto files = std::make_unique<DeltaFiles>(&reader, std::move(resume), check_name, nullptr);
  WDELTA_RETURN_IF_ERROR(files->SetRoute({std::move(steps), nullptr}));
  return files;
}

std::unique_ptr<FileProducer> StartFolding(RpcEnvironment& environment, Admission::Slot slot,
                                           DeltaRoutePlanner planner, ResumePoint resume,
                                           const NameCheck& check_name) {
  ModelStore& store = environment.store();
  auto task = std::make_shared<FoldingTask>(std::move(planner), resume, &store.codec_pool(),
                                            environment.options().max_write_wait);
  auto files = std::make_unique<DeltaFiles>(&store.reader(), std::move(resume), check_name, task);
  environment.ScheduleFolding(
      [task = std::move(task), slot = std::move(slot)]() mutable { task->Run(); });
  return files;
}

// Of a model that the caller does not name.
absl::Status CheckParent(Models& models, const DeltaStep& step, const NameCheck& check_name) {
  if (step.parent_id.empty()) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> parent, models.GetById(step.parent_id));
  return MayName(check_name, parent.has_value() ? parent->record.name() : "") ? absl::OkStatus()
                                                                              : NoDelta();
}

// Without those whose ids, digests or tags lead to models that the caller may not name.
absl::StatusOr<std::vector<std::string>> HeldByCaller(Models& models,
                                                      const v1::FetchDeltaRequest& request,
                                                      const NameCheck& check_name) {
  std::vector<std::string> held;
  for (const std::string& text : request.held_models()) {
    std::optional<Model> model;
    if (check_name != nullptr) {
      WDELTA_ASSIGN_OR_RETURN(const ModelReference reference, ParseModelReference(text));
      if (reference.kind == ModelReference::Kind::kId) {
        // Deleted ones too: their bytes may be held still.
        WDELTA_ASSIGN_OR_RETURN(model, models.GetById(reference.id));
      } else if (absl::StatusOr<Model> resolved = models.Resolve(text); resolved.ok()) {
        model = *std::move(resolved);
      }
    }
    if (!model.has_value() || MayName(check_name, model->record.name())) held.push_back(text);
  }
  return held;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileProducer>> OpenDelta(RpcEnvironment& environment,
                                                        const v1::FetchDeltaRequest& request,
                                                        const NameCheck& check_name) {
  ModelStore& store = environment.store();
  WDELTA_ASSIGN_OR_RETURN(const Model model, store.models().ResolveReady(request.model()));
  const std::string& id = model.record.id();
  const RouteTools tools{&store.models(), &store.reader(), &store.codec_pool()};
  ResumePoint resume{request.delta_id(), request.offset()};
  std::vector<DeltaStep> steps;
  if (request.held_models().empty()) {
    WDELTA_ASSIGN_OR_RETURN(steps.emplace_back(), StoredDeltaOf(tools, id));
    WDELTA_RETURN_IF_ERROR(CheckParent(store.models(), steps[0], check_name));
    return SendSteps(store.reader(), std::move(resume), check_name, std::move(steps));
  }
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> held,
                          HeldByCaller(store.models(), request, check_name));
  WDELTA_ASSIGN_OR_RETURN(DeltaRoutePlanner planner, DeltaRoutePlanner::Open(tools, id, held));
  if (planner.MayFold()) {
    std::optional<Admission::Slot> slot = environment.foldings().TryEnter();
    if (slot.has_value()) {
      return StartFolding(environment, *std::move(slot), std::move(planner), std::move(resume),
                          check_name);
    }
    // Who holds a part of a folded one would lose it.
    const bool has_folded_part = resume.offset > 0 && IsFoldedId(resume.delta_id);
    if (!planner.LeadsFromHeld() || has_folded_part) {
      return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_FOLDINGS",
                       absl::StrCat("expected at most ", environment.foldings().limit(),
                                    " deltas that are made while they are sent; try later"));
    }
  }
  WDELTA_ASSIGN_OR_RETURN(steps, std::move(planner).Stored());
  return SendSteps(store.reader(), std::move(resume), check_name, std::move(steps));
}

}  // namespace wdelta

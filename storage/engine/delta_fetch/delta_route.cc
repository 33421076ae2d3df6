#include "storage/engine/delta_fetch/delta_route.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/delta_fetch/checked_delta.h"
#include "storage/engine/delta_fetch/held_chain.h"
#include "storage/engine/encoding/chunk_input.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/low_rank/corrected_estimate.h"
#include "storage/engine/encoding/storage_plan.h"
#include "storage/engine/encoding/stream_digests.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

// A folded delta is taken when it has no more than this part of the bytes that are stored.
constexpr double kWorthFolding = 15.0 / 16;

constexpr absl::string_view kFoldedPrefix = "folded:";
// Raised whenever encoding the same models gives other bytes: who has a part of a folded delta
// goes on with the rest of the same one.
constexpr int kEncoderRevision = 3;

// Of a `.wdelta` beside its payloads, about.
constexpr double kChunkEntryBytes = 16;
constexpr double kStreamEntryBytes = 64;

// Damaged or half gone: no reason to do without the others.
bool IsUnreadable(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsNotFound(status) || absl::IsFailedPrecondition(status);
}

std::string FoldedId(const ModelRecord& target, const ModelRecord* parent) {
  const Digest digest = Digest::Of(absl::StrCat(
      "wdelta ", WDELTA_VERSION, " ", kEncoderRevision, "\n",
      absl::BytesToHexString(target.digest()), "\n", absl::BytesToHexString(target.delta_digest()),
      "\n", parent == nullptr ? "alone" : absl::BytesToHexString(parent->digest()), "\n"));
  return absl::StrCat(kFoldedPrefix, digest.ToHex());
}

absl::StatusOr<DeltaStep> StepOf(HeldDelta held) {
  DeltaStep step;
  step.parent_id = held.model.storage_parent_id();
  step.delta_id = absl::StrCat("sha256:", absl::BytesToHexString(held.model.delta_digest()));
  step.size_bytes = held.model.stored_bytes();
  WDELTA_ASSIGN_OR_RETURN(
      step.stored,
      CheckedDelta::Open(absl::StrCat("model '", held.model.name(), "'"), std::move(held.file)));
  step.model = std::move(held.model);
  return step;
}

absl::StatusOr<DeltaEncoderInput> FoldingInput(const DeltaStep& step, ThreadPool* pool,
                                               const std::function<absl::Status()>& check_alive) {
  DeltaEncoderInput input;
  input.target = step.target;
  input.parent = step.parent;
  input.parent_streams.resize(step.target->checkpoint().streams.size());
  input.advance = [check_alive](uint64_t) { return check_alive(); };
  if (step.parent != nullptr) {
    WDELTA_ASSIGN_OR_RETURN(const std::vector<Digest> digests,
                            DigestsOfStreams(*step.target, pool, check_alive));
    input.parent_streams = MatchContents(step.target->checkpoint(), digests, *step.parent);
  }
  return input;
}

}  // namespace

absl::StatusOr<DeltaStep> StoredDeltaOf(const RouteTools& tools, const std::string& model_id) {
  WDELTA_ASSIGN_OR_RETURN(HeldDelta held, tools.reader->HoldDelta(model_id));
  return StepOf(std::move(held));
}

absl::StatusOr<DeltaRoutePlanner> DeltaRoutePlanner::Open(
    const RouteTools& tools, const std::string& model_id,
    const std::vector<std::string>& held_references) {
  DeltaRoutePlanner planner(tools);
  WDELTA_RETURN_IF_ERROR(planner.FindHeld(held_references));
  WDELTA_ASSIGN_OR_RETURN(planner.chain_, HoldChain(*tools.models, *tools.reader, model_id));
  planner.FindStoredSteps();
  return planner;
}

absl::StatusOr<std::vector<DeltaStep>> DeltaRoutePlanner::Stored() && {
  std::vector<DeltaStep> steps;
  for (size_t i = stored_steps_; i-- > 0;) {
    WDELTA_ASSIGN_OR_RETURN(DeltaStep step, StepOf(std::move(chain_[i])));
    steps.push_back(std::move(step));
  }
  // A twin of the storage parent may be the one that is held.
  steps.front().parent_id = stored_parent_id_;
  return steps;
}

absl::StatusOr<std::vector<DeltaStep>> DeltaRoutePlanner::Best(
    const std::function<absl::Status()>& check_alive) && {
  if (CanStandAlone()) WDELTA_RETURN_IF_ERROR(Measure(nullptr, check_alive));
  for (const ModelRecord& held : held_) {
    if (NearestIsHeld() && held.id() == stored_parent_id_) continue;
    WDELTA_RETURN_IF_ERROR(Measure(&held, check_alive));
  }
  const double enough = kWorthFolding * static_cast<double>(stored_bytes_);
  if (!folded_.has_value() || static_cast<double>(folded_->size_bytes) > enough) {
    return std::move(*this).Stored();
  }
  std::vector<DeltaStep> steps;
  steps.push_back(*std::exchange(folded_, std::nullopt));
  return steps;
}

absl::Status DeltaRoutePlanner::FindHeld(const std::vector<std::string>& references) {
  if (references.size() > limits::kMaxHeldModels) {
    return MakeError(absl::StatusCode::kInvalidArgument, "TOO_MANY_HELD_MODELS",
                     absl::StrCat("held_models: expected at most ", limits::kMaxHeldModels,
                                  ", found ", references.size()));
  }
  for (const std::string& reference : references) {
    WDELTA_ASSIGN_OR_RETURN(std::optional<ModelRecord> model, Resolve(reference));
    if (!model.has_value() || HeldTwinOf(*model) != nullptr) continue;
    held_.push_back(*std::move(model));
  }
  if (!held_.empty()) return absl::OkStatus();
  return MakeError(absl::StatusCode::kFailedPrecondition, "NO_HELD_MODEL",
                   "held_models: expected one that is stored and READY at least, found none");
}

absl::StatusOr<std::optional<ModelRecord>> DeltaRoutePlanner::Resolve(const std::string& text) {
  WDELTA_ASSIGN_OR_RETURN(const ModelReference reference, ParseModelReference(text));
  std::optional<ModelRecord> record;
  if (reference.kind == ModelReference::Kind::kId) {
    WDELTA_ASSIGN_OR_RETURN(std::optional<Model> model, tools_.models->GetById(reference.id));
    if (model.has_value()) record = std::move(model->record);
  } else {
    absl::StatusOr<Model> model = tools_.models->ResolveReady(text);
    if (!model.ok() && !absl::IsNotFound(model.status())) return model.status();
    if (model.ok()) record = std::move(model->record);
  }
  const bool is_stored =
      record.has_value() && record->delta_pieces_size() > 0 &&
      (record->state() == ModelRecord::READY || record->state() == ModelRecord::DELETED);
  if (!is_stored) record.reset();
  return record;
}

const ModelRecord* DeltaRoutePlanner::HeldTwinOf(const ModelRecord& model) const {
  const auto held = std::find_if(held_.begin(), held_.end(), [&](const ModelRecord& h) {
    return h.digest() == model.digest();
  });
  return held == held_.end() ? nullptr : &*held;
}

// From the nearest ancestor that is held, or else from the root on.
void DeltaRoutePlanner::FindStoredSteps() {
  stored_bytes_ = chain_[0].model.stored_bytes();
  for (stored_steps_ = 1; stored_steps_ < chain_.size(); ++stored_steps_) {
    const ModelRecord& ancestor = chain_[stored_steps_].model;
    if (const ModelRecord* held = HeldTwinOf(ancestor)) {
      stored_parent_id_ = held->id();
      return;
    }
    stored_bytes_ += ancestor.stored_bytes();
  }
}

absl::Status DeltaRoutePlanner::Measure(const ModelRecord* held,
                                        const std::function<absl::Status()>& check_alive) {
  WDELTA_RETURN_IF_ERROR(check_alive());
  const absl::Status measured = TryMeasure(held, check_alive);
  return IsUnreadable(measured) ? absl::OkStatus() : measured;
}

absl::Status DeltaRoutePlanner::TryMeasure(const ModelRecord* held,
                                           const std::function<absl::Status()>& check_alive) {
  DeltaStep step;
  step.model = chain_[0].model;
  WDELTA_ASSIGN_OR_RETURN(step.target, tools_.reader->Open(step.model));
  if (held != nullptr) {
    step.parent_id = held->id();
    WDELTA_ASSIGN_OR_RETURN(step.parent, tools_.reader->Open(*held));
  }
  // The id is of the form that is open: the model may have been repacked meanwhile.
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> now, tools_.models->GetById(step.model.id()));
  if (!now.has_value() || now->record.delta_digest() != step.model.delta_digest()) {
    return absl::FailedPreconditionError("repacked meanwhile");
  }
  step.delta_id = FoldedId(step.model, held);
  WDELTA_ASSIGN_OR_RETURN(const DeltaEncoderInput input,
                          FoldingInput(step, tools_.pool, check_alive));
  const Checkpoint& checkpoint = step.target->checkpoint();
  const std::vector<WeightedChunk> sample =
      SampleOfModel(checkpoint, limits::kMaxRouteSampleChunks);
  WDELTA_ASSIGN_OR_RETURN(DeltaEstimate estimate, EstimateDelta(input, sample, tools_.pool));
  WDELTA_RETURN_IF_ERROR(EstimateCorrections(input, sample, tools_.pool, estimate));
  double chunk_count = 0;
  for (const WeightedChunk& chunk : sample) chunk_count += chunk.weight;
  step.size_bytes =
      static_cast<uint64_t>(estimate.payload_bytes + kChunkEntryBytes * chunk_count +
                            kStreamEntryBytes * static_cast<double>(checkpoint.streams.size()));
  if (!folded_.has_value() || step.size_bytes < folded_->size_bytes) folded_ = std::move(step);
  return absl::OkStatus();
}

bool IsFoldedId(absl::string_view delta_id) { return absl::StartsWith(delta_id, kFoldedPrefix); }

absl::Status EncodeFolded(const DeltaStep& step, ThreadPool* pool,
                          const std::function<absl::Status()>& check_alive,
                          WdeltaWriter::Sink sink) {
  WDELTA_ASSIGN_OR_RETURN(const DeltaEncoderInput input, FoldingInput(step, pool, check_alive));
  return EncodeDelta(input, pool, std::move(sink)).status();
}

}  // namespace wdelta

#include "storage/engine/parents/parent_choice.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "storage/base/status_macros.h"
#include "storage/engine/encoding/chunk_input.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/fetch_cost.h"
#include "storage/engine/encoding/low_rank/corrected_estimate.h"
#include "storage/engine/encoding/shared_streams.h"
#include "storage/engine/models/lineage_check.h"
#include "storage/engine/parents/lossy_estimate.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::ParentEdge;
using store::v1::StorageCandidate;

// Of candidates whose estimates differ by no more than this, the one that is fetched at
// the least cost is taken.
constexpr double kAsGood = 1.01;

// Share of a payload that the store has already which counts still: its claims take room, and
// who fetches the delta must fetch it. Where a parent has the tensor itself, that is better.
constexpr double kSharedCost = 1.0 / 16;

// Of the least bytes without corrections so far: more are not worth a look whether they have one.
constexpr double kMayBeCorrected = 2;

// Damaged or half gone: no reason to fail a model that can do without it.
bool IsUnreadable(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsNotFound(status) || absl::IsFailedPrecondition(status);
}

class Chooser {
 public:
  Chooser(const ParentChoiceTools& tools, const ParentChoiceInput& input)
      : tools_(tools),
        input_(input),
        candidates_(tools.catalog, tools.models, input.model, input.target->checkpoint(),
                    input.stream_digests, input.avoided),
        sample_(SampleOfModel(input.target->checkpoint(), limits::kMaxSampledChunks)),
        is_bounded_(input.allows_loss && !input.keeps_parent &&
                    IsBoundedByError(input.model.fidelity())) {}

  absl::StatusOr<ParentChoice> Run() {
    // A new form of a stored model is judged by its whole size.
    if (input_.model.state() != ModelRecord::READY && !input_.allows_loss) {
      WDELTA_RETURN_IF_ERROR(shared_.Load(*tools_.catalog, *tools_.models, *tools_.reader,
                                          input_.target->checkpoint(), input_.stream_digests));
    }
    WDELTA_ASSIGN_OR_RETURN(std::vector<ParentCandidate> round, candidates_.Gather());
    std::optional<size_t> best;
    // Each round looks at the models that are encoded against the best of those before.
    for (uint32_t i = 0; i <= input_.policy.max_chain_depth && !round.empty(); ++i) {
      for (ParentCandidate& candidate : round) {
        WDELTA_RETURN_IF_ERROR(Measure(std::move(candidate)));
      }
      SetLossyEstimates();
      const std::optional<size_t> closest = Least([](const StorageCandidate&) { return true; });
      if (closest == best || !closest.has_value()) break;
      best = closest;
      round.clear();
      if (measured_[*best].model.id().empty()) continue;
      WDELTA_ASSIGN_OR_RETURN(round, candidates_.EncodedOn(measured_[*best].model));
    }
    return Choose();
  }

 private:
  struct Measured {
    ModelRecord model;
    StorageCandidate candidate;
    // Of what may be lossy: by chunk of the sample.
    std::vector<std::optional<SampledDelta>> deltas;
    std::vector<double> lossless_bytes;
  };

  absl::Status Measure(ParentCandidate given) {
    Measured measured;
    StorageCandidate& candidate = measured.candidate;
    candidate.set_source(given.source);
    candidate.set_model_id(given.model.id());
    candidate.set_name(given.model.name());
    const bool is_alone = given.source == StorageCandidate::ALONE;
    candidate.set_depth(is_alone ? 0 : given.model.storage_depth() + 1);
    const absl::StatusOr<DeltaEstimate> estimate = Estimate(given.model, measured.deltas);
    if (estimate.ok()) {
      if (is_bounded_) measured.lossless_bytes = estimate->chunk_bytes;
      candidate.set_estimated_bytes(static_cast<uint64_t>(estimate->payload_bytes));
      candidate.set_fetch_cost(estimate->needs.FetchCost(is_alone ? 0 : FetchCostOf(given.model)));
    } else if (is_alone || IsNeeded(given.source) || !IsUnreadable(estimate.status())) {
      return estimate.status();
    } else {
      measured.deltas.clear();  // it could be sampled, and not read a moment later
    }
    candidate.set_refusal(estimate.ok() ? RefusalOf(candidate) : StorageCandidate::UNREADABLE);
    measured.model = std::move(given.model);
    measured_.push_back(std::move(measured));
    return absl::OkStatus();
  }

  // The first declared parent that is stored: of the delta to it loss is asked for.
  const Measured* Meant() const {
    for (const ParentEdge& edge : input_.model.parents()) {
      for (const Measured& measured : measured_) {
        if (measured.model.id() == edge.model_id() && !measured.deltas.empty()) return &measured;
      }
    }
    return nullptr;
  }

  // Where the error is bounded whatever the parent, what counts are the bytes with loss.
  void SetLossyEstimates() {
    const Measured* const meant = is_bounded_ ? Meant() : nullptr;
    if (meant == nullptr) return;
    for (Measured& measured : measured_) {
      if (measured.deltas.empty()) continue;
      measured.candidate.set_estimated_bytes(static_cast<uint64_t>(
          EstimateLossyBytes(sample_, meant->deltas, measured.deltas, measured.lossless_bytes)));
    }
  }

  // Nothing else may stand in for it.
  bool IsNeeded(StorageCandidate::Source source) const {
    if (input_.keeps_parent) return source == StorageCandidate::CURRENT;
    return input_.allows_loss &&
           (source == StorageCandidate::DECLARED || source == StorageCandidate::CHAIN);
  }

  absl::StatusOr<DeltaEstimate> Estimate(const ModelRecord& parent,
                                         std::vector<std::optional<SampledDelta>>& deltas) {
    DeltaEncoderInput encoder;
    encoder.target = input_.target;
    WDELTA_RETURN_IF_ERROR(SetParent(parent, encoder.parent, encoder.parent_streams));
    encoder.advance = [this](uint64_t) { return input_.advance(); };
    if (is_bounded_) {
      WDELTA_ASSIGN_OR_RETURN(deltas,
                              SampleDeltas(encoder, input_.model.fidelity(), sample_, tools_.pool));
    }
    WDELTA_ASSIGN_OR_RETURN(DeltaEstimate estimate, EstimateDelta(encoder, sample_, tools_.pool));
    if (MayBeCorrected(estimate.payload_bytes)) {
      WDELTA_RETURN_IF_ERROR(EstimateCorrections(encoder, sample_, tools_.pool, estimate));
    }
    for (size_t i = 0; i < sample_.size(); ++i) {
      const uint32_t stream = sample_[i].chunk.stream;
      if (!shared_.AreStored(stream, parent.id(), encoder.parent_streams[stream])) continue;
      estimate.payload_bytes -= (1 - kSharedCost) * sample_[i].weight * estimate.chunk_bytes[i];
    }
    estimate.payload_bytes = std::max(estimate.payload_bytes, 0.0);
    return estimate;
  }

  bool MayBeCorrected(double uncorrected_bytes) {
    least_uncorrected_bytes_ =
        std::min(least_uncorrected_bytes_.value_or(uncorrected_bytes), uncorrected_bytes);
    return !input_.allows_loss && uncorrected_bytes <= kMayBeCorrected * *least_uncorrected_bytes_;
  }

  absl::Status SetParent(const ModelRecord& parent, ContentSourcePtr& source,
                         std::vector<std::optional<uint32_t>>& streams) {
    streams.assign(input_.target->checkpoint().streams.size(), std::nullopt);
    if (parent.id().empty()) return absl::OkStatus();
    WDELTA_ASSIGN_OR_RETURN(source, tools_.reader->Open(parent));
    streams = MatchContents(input_.target->checkpoint(), input_.stream_digests, *source);
    return absl::OkStatus();
  }

  StorageCandidate::Refusal RefusalOf(const StorageCandidate& candidate) const {
    const StoragePolicy& policy = input_.policy;
    const bool is_present = candidate.source() == StorageCandidate::CURRENT;
    const bool is_alone = candidate.source() == StorageCandidate::ALONE;
    if (input_.keeps_parent && !is_present) return StorageCandidate::NOT_FOR_LOSS;
    // What is stored already was allowed then.
    const bool is_stored = input_.model.state() == ModelRecord::READY;
    if (is_present && is_stored) return StorageCandidate::NOT_REFUSED;
    const bool is_deeper = candidate.depth() > input_.model.storage_depth();
    if (candidate.depth() > policy.max_chain_depth || (input_.has_dependents && is_deeper)) {
      return StorageCandidate::TOO_DEEP;
    }
    if (!is_alone && candidate.fetch_cost() > policy.max_fetch_cost) {
      return StorageCandidate::TOO_COSTLY;
    }
    return StorageCandidate::NOT_REFUSED;
  }

  template <typename Wanted>
  std::optional<size_t> Least(Wanted wanted) const {
    std::optional<size_t> least;
    for (size_t i = 0; i < measured_.size(); ++i) {
      const StorageCandidate& candidate = measured_[i].candidate;
      if (candidate.refusal() == StorageCandidate::UNREADABLE || !wanted(candidate)) continue;
      if (least.has_value() &&
          candidate.estimated_bytes() >= measured_[*least].candidate.estimated_bytes()) {
        continue;
      }
      least = i;
    }
    return least;
  }

  // The declared parents in their order, each followed by its storage chain.
  absl::StatusOr<std::optional<size_t>> FirstDeclared() {
    for (const ParentEdge& edge : input_.model.parents()) {
      std::string id = edge.model_id();
      for (uint32_t i = 0; i <= limits::kMaxStorageDepth && !id.empty(); ++i) {
        for (size_t at = 0; at < measured_.size(); ++at) {
          if (measured_[at].model.id() != id) continue;
          if (measured_[at].candidate.refusal() == StorageCandidate::NOT_REFUSED) {
            declared_id_ = edge.model_id();
            return std::optional<size_t>(at);
          }
        }
        WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, tools_.models->GetById(id));
        if (!model.has_value()) break;
        id = model->record.storage_parent_id();
      }
    }
    return std::optional<size_t>();
  }

  absl::StatusOr<size_t> ChosenIndex() {
    const Measured* const meant = is_bounded_ ? Meant() : nullptr;
    if (meant != nullptr) {
      declared_id_ = meant->model.id();
    } else if (input_.allows_loss) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<size_t> chosen, FirstDeclared());
      for (size_t i = 0; i < measured_.size(); ++i) {
        StorageCandidate& candidate = measured_[i].candidate;
        const bool is_other = i != chosen.value_or(0);
        if (is_other && candidate.refusal() == StorageCandidate::NOT_REFUSED) {
          candidate.set_refusal(StorageCandidate::NOT_FOR_LOSS);
        }
      }
      return chosen.value_or(0);  // ALONE
    }
    const auto is_allowed = [](const StorageCandidate& candidate) {
      return candidate.refusal() == StorageCandidate::NOT_REFUSED;
    };
    const std::optional<size_t> least = Least(is_allowed);
    if (!least.has_value()) return 0;
    const double enough =
        kAsGood * static_cast<double>(measured_[*least].candidate.estimated_bytes());
    size_t cheapest = *least;
    for (size_t i = 0; i < measured_.size(); ++i) {
      const StorageCandidate& candidate = measured_[i].candidate;
      if (!is_allowed(candidate)) continue;
      if (static_cast<double>(candidate.estimated_bytes()) > enough) continue;
      if (candidate.fetch_cost() < measured_[cheapest].candidate.fetch_cost()) cheapest = i;
    }
    return cheapest;
  }

  absl::StatusOr<ParentChoice> Choose() {
    WDELTA_ASSIGN_OR_RETURN(const size_t chosen, ChosenIndex());
    ParentChoice choice;
    const Measured& best = measured_[chosen];
    choice.parent = {best.model.id(), best.candidate.depth(), 0, declared_id_};
    if (!best.model.id().empty()) choice.parent.fetch_cost = FetchCostOf(best.model);
    WDELTA_RETURN_IF_ERROR(SetParent(best.model, choice.source, choice.parent_streams));
    std::vector<StorageCandidate> candidates;
    for (const Measured& measured : measured_) candidates.push_back(measured.candidate);
    WDELTA_ASSIGN_OR_RETURN(choice.lineage_check,
                            CheckLineage(*tools_.models, input_.model, candidates));
    std::vector<size_t> order(candidates.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      const bool a_last = candidates[a].refusal() == StorageCandidate::UNREADABLE;
      const bool b_last = candidates[b].refusal() == StorageCandidate::UNREADABLE;
      if (a_last != b_last) return b_last;
      return candidates[a].estimated_bytes() < candidates[b].estimated_bytes();
    });
    for (const size_t i : order) {
      if (i == chosen) {
        choice.record.set_chosen(static_cast<uint32_t>(choice.record.candidates_size()));
      }
      *choice.record.add_candidates() = candidates[i];
    }
    choice.record.set_max_chain_depth(input_.policy.max_chain_depth);
    choice.record.set_max_fetch_cost(input_.policy.max_fetch_cost);
    return choice;
  }

  const ParentChoiceTools& tools_;
  const ParentChoiceInput& input_;
  ParentCandidates candidates_;
  const std::vector<WeightedChunk> sample_;
  const bool is_bounded_;  // loss, by relative errors
  SharedStreams shared_;
  std::vector<Measured> measured_;  // ALONE is the first
  std::optional<double> least_uncorrected_bytes_;
  // Of which the delta is meant where loss is asked for; otherwise the one that led to the
  // choice. Empty: none.
  std::string declared_id_;
};

}  // namespace

absl::StatusOr<ParentChoice> ChooseParent(const ParentChoiceTools& tools,
                                          const ParentChoiceInput& input) {
  return Chooser(tools, input).Run();
}

}  // namespace wdelta

// How a client that holds other models comes to a model by the fewest bytes: which `.wdelta`
// files lead there, and from which of them.
//
// Either the stored files of the storage chain, from the model that is held on, or one made
// for the purpose: the model's served bytes encoded against those of a held model, whatever
// lies between them. The latter costs work, so it must be smaller by some.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/delta_fetch/checked_delta.h"
#include "storage/engine/models/models.h"
#include "storage/wdelta/wdelta_writer.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// One `.wdelta` of a route. While it lives, nothing that it needs is freed.
struct DeltaStep {
  store::v1::ModelRecord model;  // that it leads to
  std::string parent_id;         // of what it is applied to; empty: of nothing
  // Of equal ids the bytes are equal: `sha256:` and the digest of what is stored, or
  // `folded:` and one of all that decides what EncodeFolded writes.
  std::string delta_id;
  uint64_t size_bytes = 0;  // an estimate when it is folded
  // Its payloads are verified as they are read. Null: it is to be folded.
  std::shared_ptr<const CheckedDelta> stored;
  // To fold it: served bytes of the model and of its parent here.
  ContentSourcePtr target;
  ContentSourcePtr parent;  // null: none

  bool is_folded() const { return stored == nullptr; }
};

// What a route is planned with. Owns none of it. Any thread, but not one of `pool`.
struct RouteTools {
  Models* models = nullptr;
  Reader* reader = nullptr;
  ThreadPool* pool = nullptr;
};

// The model's own stored file, against its storage parent. Errors: as Reader::HoldDelta;
// DATA_LOSS.
absl::StatusOr<DeltaStep> StoredDeltaOf(const RouteTools& tools, const std::string& model_id);

// Chooses the steps to a model, in the order in which they are applied; a first one without
// parent stands alone. One thread at a time. While it lives, what is stored is not freed.
class DeltaRoutePlanner {
 public:
  // Finds what is held and what is stored. Held references that name no model, or one that is
  // not READY, are passed over; `id:` may name a deleted model whose bytes are kept.
  // Errors: as StoredDeltaOf; INVALID_ARGUMENT (`TOO_MANY_HELD_MODELS`, or a malformed
  // reference), FAILED_PRECONDITION (`NO_HELD_MODEL`: none is left; `AMBIGUOUS_DIGEST`),
  // UNAVAILABLE (`MODEL_REPACKED`).
  static absl::StatusOr<DeltaRoutePlanner> Open(const RouteTools& tools,
                                                const std::string& model_id,
                                                const std::vector<std::string>& held_references);

  // Whether stored deltas lead from a held model, rather than from a root.
  bool LeadsFromHeld() const { return !stored_parent_id_.empty(); }
  // Whether a folded delta may be better than the stored ones.
  bool MayFold() const { return CanStandAlone() || held_.size() > (NearestIsHeld() ? 1 : 0); }

  // Both once, and one of them. The stored ones; errors: DATA_LOSS.
  absl::StatusOr<std::vector<DeltaStep>> Stored() &&;
  // Or one that is folded, where that is smaller by some. Of each held model at most
  // kMaxRouteSampleChunks chunks are encoded to see what it is worth, and the digests of a
  // model may have to be computed. `check_alive` is called often, an error ends the work.
  absl::StatusOr<std::vector<DeltaStep>> Best(const std::function<absl::Status()>& check_alive) &&;

 private:
  explicit DeltaRoutePlanner(const RouteTools& tools) : tools_(tools) {}

  absl::Status FindHeld(const std::vector<std::string>& references);
  absl::StatusOr<std::optional<store::v1::ModelRecord>> Resolve(const std::string& text);
  // One of equal content; null: none.
  const store::v1::ModelRecord* HeldTwinOf(const store::v1::ModelRecord& model) const;
  void FindStoredSteps();
  // What is stored is against it.
  bool NearestIsHeld() const { return stored_steps_ == 1 && LeadsFromHeld(); }
  // Folded, it would be another file than the stored one.
  bool CanStandAlone() const { return !NearestIsHeld() && chain_.size() > 1; }
  // Keeps the best of those that are measured. `held` null: to stand alone.
  absl::Status Measure(const store::v1::ModelRecord* held,
                       const std::function<absl::Status()>& check_alive);
  absl::Status TryMeasure(const store::v1::ModelRecord* held,
                          const std::function<absl::Status()>& check_alive);

  RouteTools tools_;
  std::vector<store::v1::ModelRecord> held_;  // each of another content
  std::vector<HeldDelta> chain_;              // of the target, itself first
  size_t stored_steps_ = 0;                   // so many of the chain lead from what is held
  std::string stored_parent_id_;              // of the first of them; empty: they begin at the root
  uint64_t stored_bytes_ = 0;                 // of them all
  std::optional<DeltaStep> folded_;
};

// Whether a delta_id is that of a folded step.
bool IsFoldedId(absl::string_view delta_id);

// Writes a folded step's file; memory as EncodeDelta. `check_alive` is called often, an error
// ends the work. DATA_LOSS names the damaged chunk of whichever model has it.
absl::Status EncodeFolded(const DeltaStep& step, ThreadPool* pool,
                          const std::function<absl::Status()>& check_alive,
                          WdeltaWriter::Sink sink);

}  // namespace wdelta

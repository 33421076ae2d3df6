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
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/file_system.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/content_source.h"
#include "storage/engine/models.h"
#include "storage/engine/reader.h"
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
  std::shared_ptr<const RandomAccessFile> stored;
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

// The model's own stored file, against its storage parent. Errors as Reader::HoldDelta, and
// DATA_LOSS.
absl::StatusOr<DeltaStep> StoredDeltaOf(const RouteTools& tools, const std::string& model_id);

// In the order in which they are applied; a first one without parent stands alone. Of each
// held model at most kMaxRouteSampleChunks chunks are encoded to see what it is worth. Held
// references that name no model, or one that is not READY, are passed over; `id:` may name a
// deleted model whose bytes are kept.
// Errors: as StoredDeltaOf; INVALID_ARGUMENT (`TOO_MANY_HELD_MODELS`, or a malformed
// reference), FAILED_PRECONDITION (`NO_HELD_MODEL`: none is left).
absl::StatusOr<std::vector<DeltaStep>> PlanDeltaRoute(
    const RouteTools& tools, const std::string& model_id,
    const std::vector<std::string>& held_references);

// Writes a folded step's file; memory as EncodeDelta. `check_alive` is called often, an error
// ends the work. DATA_LOSS names the damaged chunk of whichever model has it.
absl::Status EncodeFolded(const DeltaStep& step, ThreadPool* pool,
                          const std::function<absl::Status()>& check_alive,
                          WdeltaWriter::Sink sink);

}  // namespace wdelta

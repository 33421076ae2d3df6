// Which models are worth measuring as the storage parent of another.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "storage/base/digest.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/models/models.h"
#include "storage/engine/queue/job_queue.h"
#include "storage/tensor/checkpoint.h"
#include "store/v1/records.pb.h"

namespace wdelta {

struct ParentCandidate {
  store::v1::StorageCandidate::Source source = store::v1::StorageCandidate::ALONE;
  store::v1::ModelRecord model;  // empty for ALONE
};

// Models that are to go, when others are encoded again so that they can.
struct AvoidedModels {
  absl::flat_hash_set<std::string> ids;
  // To be deleted: no one's parent from now on.
  absl::flat_hash_set<std::string> doomed;
  // Models that will not be encoded against what their records say but against these;
  // empty: alone.
  absl::flat_hash_map<std::string, std::string> moved;
};

// One model's candidates. One thread at a time. Owns none of its arguments, which must
// outlive it.
class ParentCandidates {
 public:
  // `checkpoint` and `stream_digests` are of the model's content. With `avoided`, neither
  // those models nor any that needs them or was deleted is a candidate.
  ParentCandidates(Catalog* catalog, Models* models, const store::v1::ModelRecord& model,
                   const Checkpoint& checkpoint, const std::vector<Digest>& stream_digests,
                   const AvoidedModels* avoided = nullptr);

  // No parent, then the present storage parent, the declared parents, their storage
  // chains, siblings and lineage roots, and compressed models that are laid out alike or
  // share large tensors. Never the model itself, one that needs its bytes, one of
  // equal content, or one beyond the model's storage limit; each once, under its first source; at
  // most kMaxParentCandidates.
  absl::StatusOr<std::vector<ParentCandidate>> Gather();

  // Models that are encoded against `model` and have not been returned before, the
  // newest first: when it is close, they may be closer.
  absl::StatusOr<std::vector<ParentCandidate>> EncodedOn(const store::v1::ModelRecord& model);

 private:
  using Source = store::v1::StorageCandidate::Source;

  absl::Status Add(const std::string& id, Source source, std::vector<ParentCandidate>& out);
  absl::Status AddChain(std::string id, std::vector<ParentCandidate>& out);
  absl::Status AddSiblings(const std::string& parent_id, std::vector<ParentCandidate>& out);
  absl::Status AddRoots(std::vector<ParentCandidate>& out);
  absl::Status AddSharers(std::vector<ParentCandidate>& out);
  bool IsWithinLimit(const std::string& id) const;
  // On the model itself, or on what is to go.
  absl::StatusOr<bool> IsRuledOut(std::string id);

  Catalog* const catalog_;
  Models* const models_;
  const store::v1::ModelRecord& model_;
  const Checkpoint& checkpoint_;
  const std::vector<Digest>& stream_digests_;
  const AvoidedModels* const avoided_;
  const std::string digest_;  // of the content
  std::vector<std::string> seen_;
};

// UNAVAILABLE (`PARENT_NOT_READY`) while a declared parent is still to be compressed.
absl::Status AwaitDeclaredParents(Models& models, JobQueue& jobs,
                                  const store::v1::ModelRecord& model);

}  // namespace wdelta

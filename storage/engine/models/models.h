// Models by reference: read, list, change, delete, tag. Any thread may call it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/clock.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/queue/job_queue.h"
#include "storage/engine/records/names.h"
#include "store/v1/records.pb.h"

namespace wdelta {

struct Model {
  store::v1::ModelRecord record;
  uint64_t version = 0;  // of the record in the catalog
};

struct Tag {
  std::string name;
  std::string tag;
  store::v1::TagRecord record;
};

// One change of a tag, as it lies in the catalog.
struct TagChange {
  uint64_t number = 0;  // of the tag's changes, from 1
  store::v1::TagChangeRecord record;
};

// Both included.
struct ByteRange {
  uint64_t min = 0;
  uint64_t max = UINT64_MAX;
};

struct ModelFilter {
  StringMap labels;                                   // all must match
  std::string name_pattern;                           // empty: any
  std::vector<store::v1::ModelRecord::State> states;  // empty: any
  int64_t created_from_us = INT64_MIN;
  int64_t created_before_us = INT64_MAX;
  ByteRange raw_bytes;
  std::optional<ByteRange> stored_bytes;  // set: only models that are stored
};

template <typename T>
struct Page {
  std::vector<T> items;
  // Pass it as `after` to go on; empty: nothing is left. A page may be short, or
  // even empty, and still have a next one.
  std::string next;
};

struct StoreTotals {
  uint64_t model_count = 0;
  uint64_t raw_bytes = 0;
  uint64_t stored_bytes = 0;
};

class Models {
 public:
  // Owns nothing; all must outlive it.
  Models(Catalog* catalog, JobQueue* jobs, const Clock* clock)
      : catalog_(catalog), jobs_(jobs), clock_(clock) {}

  // A live model. INVALID_ARGUMENT (malformed), NOT_FOUND (reason
  // `MODEL_NOT_FOUND`), FAILED_PRECONDITION (`AMBIGUOUS_DIGEST`).
  absl::StatusOr<Model> Resolve(absl::string_view reference);
  // Likewise, but a bare name stands for the newest of its versions that can be fetched; if
  // none of the newest kMaxVersionsTried can, for the newest.
  absl::StatusOr<Model> ResolveToFetch(absl::string_view reference);
  // Likewise, but of those that are READY.
  absl::StatusOr<Model> ResolveReady(absl::string_view reference);

  // By id, deleted ones (that still have descendants) too; nullopt: unknown.
  absl::StatusOr<std::optional<Model>> GetById(absl::string_view id);

  // Live models in order of creation, after the item that gave `after`.
  absl::StatusOr<Page<Model>> List(const ModelFilter& filter, const std::string& after,
                                   uint32_t limit);

  // Replaces the given maps; metadata that the store itself wrote (`merge.…`) stays, and is
  // given as it is or not at all: INVALID_ARGUMENT (`BAD_METADATA`). `expected_version` 0: whatever
  // is there; otherwise ABORTED (`CONFLICT`) when the model has changed since.
  absl::StatusOr<Model> Update(absl::string_view reference, const std::optional<StringMap>& labels,
                               const std::optional<StringMap>& metadata, uint64_t expected_version);

  // Hides the model and its tags at once; a job frees what nothing else needs. `author`
  // as in SetTag.
  absl::Status Delete(absl::string_view reference, absl::string_view author = {});

  // Likewise of a model as it was read, if the conditions hold; ABORTED (`CONFLICT`)
  // otherwise. Adds no job: the caller frees it.
  absl::Status DeleteAs(const Model& model, const std::vector<Commit::Condition>& conditions);

  // Adds a job that encodes the model again; returns its id, or that of one that has
  // not ended. FAILED_PRECONDITION (`MODEL_NOT_READY`).
  absl::StatusOr<std::string> Repack(absl::string_view reference, store::v1::Effort effort);

  // A change of a tag, its deletion and that of its model too, is kept with the tag's
  // history in the same commit. `author` is kept there as it is, empty for not known;
  // INVALID_ARGUMENT (`BAD_AUTHOR`). `must_be_new`: ALREADY_EXISTS (`TAG_EXISTS`) when there
  // is such a tag, whatever it points at.
  absl::StatusOr<Tag> SetTag(absl::string_view name, absl::string_view tag,
                             absl::string_view model_reference, absl::string_view author = {},
                             bool must_be_new = false);
  // NOT_FOUND (`TAG_NOT_FOUND`).
  absl::Status DeleteTag(absl::string_view name, absl::string_view tag,
                         absl::string_view author = {});
  // All tags, or those of one name.
  absl::StatusOr<Page<Tag>> ListTags(absl::string_view name, const std::string& after,
                                     uint32_t limit);
  // Changes of one tag, the latest first, behind the one whose number is `after` (0: from
  // the latest). NOT_FOUND (`TAG_NOT_FOUND`) when there is neither a tag nor a change.
  absl::StatusOr<std::vector<TagChange>> TagHistory(absl::string_view name, absl::string_view tag,
                                                    uint64_t after, uint32_t limit);
  // `name@tag` of the tags that point at a model.
  absl::StatusOr<std::vector<std::string>> TagsOf(absl::string_view id);

  // Declared lineage: ids of models made from this one, in order of creation.
  absl::StatusOr<std::vector<std::string>> Children(absl::string_view id);

  absl::StatusOr<StoreTotals> Totals();

  // Why the model is stored as it is; empty where that was not kept.
  // FAILED_PRECONDITION (`MODEL_NOT_READY`).
  absl::StatusOr<store::v1::StorageChoiceRecord> StorageChoiceOf(const Model& model);

 private:
  absl::StatusOr<std::string> ResolveToId(const ModelReference& reference);
  absl::StatusOr<std::string> ResolveDigest(absl::string_view hex_prefix);
  absl::Status AddDeletion(const Model& model, absl::string_view author, bool adds_reclaim,
                           Commit& commit);
  absl::Status AddDeletionOfTags(const store::v1::ModelRecord& model, absl::string_view author,
                                 Commit& commit);
  absl::Status AddTagChange(absl::string_view name, absl::string_view tag,
                            store::v1::TagChangeRecord change, Commit& commit);

  Catalog* const catalog_;
  JobQueue* const jobs_;
  const Clock* const clock_;
};

}  // namespace wdelta

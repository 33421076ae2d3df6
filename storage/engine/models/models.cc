#include "storage/engine/models/models.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/shell_pattern.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/merge_recipe.h"
#include "storage/engine/records/model_files.h"
#include "storage/engine/records/name_check.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::NameRecord;
using store::v1::TagRecord;

constexpr uint32_t kMaxModelsPerScan = 500;

bool Contains(const ByteRange& range, uint64_t bytes) {
  return range.min <= bytes && bytes <= range.max;
}

bool Matches(const ModelFilter& filter, const ModelRecord& model) {
  if (model.state() == ModelRecord::DELETED) return false;
  if (!filter.states.empty() &&
      std::find(filter.states.begin(), filter.states.end(), model.state()) == filter.states.end()) {
    return false;
  }
  if (!filter.name_pattern.empty() && !MatchesPattern(filter.name_pattern, model.name())) {
    return false;
  }
  if (model.create_time_us() < filter.created_from_us ||
      model.create_time_us() >= filter.created_before_us ||
      !Contains(filter.raw_bytes, model.raw_bytes())) {
    return false;
  }
  if (filter.stored_bytes.has_value() && (model.state() != ModelRecord::READY ||
                                          !Contains(*filter.stored_bytes, model.stored_bytes()))) {
    return false;
  }
  return std::all_of(filter.labels.begin(), filter.labels.end(), [&](const auto& label) {
    const auto found = model.labels().find(label.first);
    return found != model.labels().end() && found->second == label.second;
  });
}

// The places in runs of labels that the model leaves with its new `labels`.
void ForgetPositions(const StringMap& labels, ModelRecord& model) {
  for (const auto& [label, value] : model.labels()) {
    const auto kept = labels.find(label);
    const bool is_kept = kept != labels.end() && kept->second == value;
    if (!is_kept) model.mutable_label_run_positions()->erase(label);
  }
}

// What the store wrote itself stays.
absl::StatusOr<StringMap> ChangedMetadata(const ModelRecord& model, StringMap metadata) {
  const StringMap before(model.metadata().begin(), model.metadata().end());
  WDELTA_RETURN_IF_ERROR(ValidateClientMetadata(metadata, before));
  for (const auto& [key, value] : before) {
    if (absl::StartsWith(key, kMergeMetadataPrefix)) metadata.emplace(key, value);
  }
  WDELTA_RETURN_IF_ERROR(ValidateMetadata(metadata));
  return metadata;
}

bool IsReady(const ModelRecord& model) { return model.state() == ModelRecord::READY; }

// A bare name stands for the newest of its versions that `suits`, or else for the newest.
absl::StatusOr<Model> ResolveNewest(Models& models, Catalog& catalog, absl::string_view text,
                                    bool (*suits)(const ModelRecord&)) {
  WDELTA_ASSIGN_OR_RETURN(const ModelReference reference, ParseModelReference(text));
  WDELTA_ASSIGN_OR_RETURN(Model newest, models.Resolve(text));
  if (reference.kind != ModelReference::Kind::kName || suits(newest.record)) return newest;
  const std::string prefix = keys::VersionPrefix(reference.name);
  ScanRequest request{prefix, keys::Version(reference.name, newest.record.id()),
                      limits::kModelsPerScan, true};
  uint32_t tried = 0;
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(const ScanPage page, catalog.Scan(request));
    for (const Record& version : page.records) {
      WDELTA_ASSIGN_OR_RETURN(std::optional<Model> model,
                              models.GetById(version.key.substr(prefix.size())));
      if (model.has_value() && suits(model->record)) return *std::move(model);
    }
    tried += static_cast<uint32_t>(page.records.size());
    if (!page.more || page.records.empty() || tried >= limits::kMaxVersionsTried) return newest;
    request.end = page.records.back().key;
  }
}

}  // namespace

absl::StatusOr<std::string> Models::ResolveDigest(absl::string_view hex_prefix) {
  const std::string prefix = keys::DigestPrefix(hex_prefix);
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> suffixes,
                          ScanKeySuffixes(*catalog_, prefix));
  // Suffixes are `<rest of the digest>/<id>`. Models of equal content are
  // interchangeable: the oldest stands for all.
  std::string first_rest;
  std::string id;
  for (const std::string& suffix : suffixes) {
    const size_t slash = suffix.find('/');
    const std::string rest = suffix.substr(0, slash);
    if (id.empty()) {
      first_rest = rest;
      id = suffix.substr(slash + 1);
    } else if (rest != first_rest) {
      return MakeError(
          absl::StatusCode::kFailedPrecondition, "AMBIGUOUS_DIGEST",
          absl::StrCat("digest prefix sha256:", hex_prefix, " fits more than one model"));
    }
  }
  return id;
}

absl::StatusOr<std::string> Models::ResolveToId(const ModelReference& reference) {
  switch (reference.kind) {
    case ModelReference::Kind::kId:
      return reference.id;
    case ModelReference::Kind::kDigest:
      return ResolveDigest(reference.digest);
    case ModelReference::Kind::kName: {
      WDELTA_ASSIGN_OR_RETURN(const auto name,
                              ReadRecord<NameRecord>(*catalog_, keys::Name(reference.name)));
      return name.has_value() ? name->message.model_id() : "";
    }
    case ModelReference::Kind::kTag: {
      WDELTA_ASSIGN_OR_RETURN(
          const auto tag,
          ReadRecord<TagRecord>(*catalog_, keys::Tag(reference.name, reference.tag)));
      return tag.has_value() ? tag->message.model_id() : "";
    }
  }
  return absl::InternalError("unknown kind of model reference");
}

absl::StatusOr<Model> Models::Resolve(absl::string_view text) {
  WDELTA_ASSIGN_OR_RETURN(const ModelReference reference, ParseModelReference(text));
  WDELTA_ASSIGN_OR_RETURN(const std::string id, ResolveToId(reference));
  if (id.empty()) return ModelNotFound(text);
  WDELTA_ASSIGN_OR_RETURN(std::optional<Model> model, GetById(id));
  if (!model.has_value() || model->record.state() == ModelRecord::DELETED) {
    return ModelNotFound(text);
  }
  return *std::move(model);
}

absl::StatusOr<Model> Models::ResolveToFetch(absl::string_view text) {
  return ResolveNewest(*this, *catalog_, text, &CanBeFetched);
}

absl::StatusOr<Model> Models::ResolveReady(absl::string_view text) {
  return ResolveNewest(*this, *catalog_, text, &IsReady);
}

absl::StatusOr<std::optional<Model>> Models::GetById(absl::string_view id) {
  WDELTA_ASSIGN_OR_RETURN(auto record, ReadRecord<ModelRecord>(*catalog_, keys::Model(id)));
  if (!record.has_value()) return std::optional<Model>();
  return std::optional<Model>(Model{std::move(record->message), record->version});
}

absl::StatusOr<Page<Model>> Models::List(const ModelFilter& filter, const std::string& after,
                                         uint32_t limit) {
  Page<Model> page;
  uint32_t scanned = 0;
  ScanRequest request{after.empty() ? std::string(keys::kModels) : keys::Model(after) + '\0',
                      PrefixEnd(keys::kModels), limit, false};
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(const ScanPage records, catalog_->Scan(request));
    for (const Record& record : records.records) {
      const std::string id = record.key.substr(keys::kModels.size());
      WDELTA_ASSIGN_OR_RETURN(auto parsed, ParseRecord<ModelRecord>(record));
      ++scanned;
      if (Matches(filter, parsed.message)) {
        page.items.push_back({std::move(parsed.message), parsed.version});
      }
      const bool last = !records.more && &record == &records.records.back();
      if (!last && (page.items.size() >= limit || scanned >= limits::kMaxModelsScannedPerPage)) {
        page.next = id;
        return page;
      }
    }
    if (!records.more || records.records.empty()) return page;
    request.begin = records.records.back().key + '\0';
    // Where little matches, more is read at once.
    request.limit = std::max(request.limit, std::min(2 * request.limit, kMaxModelsPerScan));
  }
}

absl::StatusOr<Model> Models::Update(absl::string_view reference,
                                     const std::optional<StringMap>& labels,
                                     const std::optional<StringMap>& metadata,
                                     uint64_t expected_version) {
  if (labels.has_value()) WDELTA_RETURN_IF_ERROR(ValidateLabels(*labels));
  if (metadata.has_value()) WDELTA_RETURN_IF_ERROR(ValidateMetadata(*metadata));
  const auto attempt = [&]() -> absl::StatusOr<Model> {
    WDELTA_ASSIGN_OR_RETURN(Model model, Resolve(reference));
    if (expected_version != 0 && expected_version != model.version) {
      return MakeError(absl::StatusCode::kAborted, "CONFLICT",
                       absl::StrCat("model '", reference, "' has changed: expected etag ",
                                    expected_version, ", found ", model.version));
    }
    if (labels.has_value()) {
      ForgetPositions(*labels, model.record);
      model.record.mutable_labels()->clear();
      model.record.mutable_labels()->insert(labels->begin(), labels->end());
    }
    if (metadata.has_value()) {
      WDELTA_ASSIGN_OR_RETURN(const StringMap changed, ChangedMetadata(model.record, *metadata));
      model.record.mutable_metadata()->clear();
      model.record.mutable_metadata()->insert(changed.begin(), changed.end());
    }
    Commit commit;
    const std::string key = keys::Model(model.record.id());
    commit.Require(key, model.version).Write(key, model.record.SerializeAsString());
    WDELTA_ASSIGN_OR_RETURN(model.version, catalog_->Apply(commit));
    return model;
  };
  if (expected_version != 0) return attempt();
  return RetryOnConflict(attempt);
}

absl::StatusOr<std::vector<std::string>> Models::TagsOf(absl::string_view id) {
  return ScanKeySuffixes(*catalog_, keys::TaggedPrefix(id));
}

absl::StatusOr<std::vector<std::string>> Models::Children(absl::string_view id) {
  return ScanKeySuffixes(*catalog_, keys::ChildPrefix(id));
}

absl::StatusOr<store::v1::StorageChoiceRecord> Models::StorageChoiceOf(const Model& model) {
  if (model.record.state() != ModelRecord::READY) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_READY",
                     absl::StrCat("model '", model.record.name(), "': expected state READY, found ",
                                  ModelRecord::State_Name(model.record.state())));
  }
  WDELTA_ASSIGN_OR_RETURN(const auto record,
                          ReadRecord<store::v1::StorageChoiceRecord>(
                              *catalog_, keys::StorageChoice(model.record.id())));
  return record.has_value() ? record->message : store::v1::StorageChoiceRecord();
}

absl::StatusOr<StoreTotals> Models::Totals() {
  StoreTotals totals;
  std::string after;
  do {
    WDELTA_ASSIGN_OR_RETURN(const Page<Model> page, List({}, after, limits::kMaxPageSize));
    for (const Model& model : page.items) {
      ++totals.model_count;
      totals.raw_bytes += model.record.raw_bytes();
      totals.stored_bytes += model.record.stored_bytes();
    }
    after = page.next;
  } while (!after.empty());
  return totals;
}

}  // namespace wdelta

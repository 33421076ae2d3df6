// Deletion, repacking and tags: the parts of Models that change several records at once.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/content_index.h"
#include "storage/engine/models.h"
#include "storage/engine/records.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::NameRecord;
using store::v1::TagRecord;

}  // namespace

absl::Status Models::AddDeletion(const Model& model, bool adds_reclaim, Commit& commit) {
  ModelRecord record = model.record;
  record.set_state(ModelRecord::DELETED);
  record.set_delete_time_us(ToMicros(clock_->Now()));
  if (adds_reclaim) {
    record.set_job_id(jobs_->AddTo(commit, store::v1::JobRecord::RECLAIM, record));
  }
  commit.Require(keys::Model(record.id()), model.version);
  commit.Write(keys::Model(record.id()), record.SerializeAsString());
  commit.Erase(keys::Version(record.name(), record.id()));
  if (!record.digest().empty()) {
    WDELTA_ASSIGN_OR_RETURN(const Digest digest, Digest::FromBytes(record.digest()));
    commit.Erase(keys::DigestOf(digest.ToHex(), record.id()));
  }
  commit.Erase(keys::StorageChoice(record.id()));
  WDELTA_RETURN_IF_ERROR(RemoveFromIndex(*catalog_, record.id(), commit));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> tags, TagsOf(record.id()));
  for (const std::string& tag : tags) {
    // It may be moved to another model meanwhile.
    const std::string tag_key = absl::StrCat(keys::kTags, tag);
    WDELTA_ASSIGN_OR_RETURN(const auto pointer, ReadRecord<TagRecord>(*catalog_, tag_key));
    if (!pointer.has_value() || pointer->message.model_id() != record.id()) continue;
    commit.Require(tag_key, pointer->version).Erase(tag_key);
    commit.Erase(keys::TaggedPrefix(record.id()) + tag);
  }

  // The name goes to its newest remaining version.
  const std::string name_key = keys::Name(record.name());
  WDELTA_ASSIGN_OR_RETURN(const auto name, ReadRecord<NameRecord>(*catalog_, name_key));
  if (!name.has_value() || name->message.model_id() != record.id()) return absl::OkStatus();
  commit.Require(name_key, name->version);
  WDELTA_ASSIGN_OR_RETURN(std::vector<std::string> versions,
                          ScanKeySuffixes(*catalog_, keys::VersionPrefix(record.name())));
  versions.erase(std::remove(versions.begin(), versions.end(), record.id()), versions.end());
  if (versions.empty()) {
    commit.Erase(name_key);
  } else {
    NameRecord next = name->message;
    next.set_model_id(versions.back());
    commit.Write(name_key, next.SerializeAsString());
  }
  return absl::OkStatus();
}

absl::Status Models::Delete(absl::string_view reference) {
  return RetryOnConflict([&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const Model model, Resolve(reference));
    Commit commit;
    WDELTA_RETURN_IF_ERROR(AddDeletion(model, true, commit));
    return catalog_->Apply(commit).status();
  });
}

absl::Status Models::DeleteAs(const Model& model,
                              const std::vector<Commit::Condition>& conditions) {
  Commit commit;
  commit.conditions = conditions;
  WDELTA_RETURN_IF_ERROR(AddDeletion(model, false, commit));
  return catalog_->Apply(commit).status();
}

absl::StatusOr<std::string> Models::Repack(absl::string_view reference, store::v1::Effort effort) {
  return RetryOnConflict([&]() -> absl::StatusOr<std::string> {
    WDELTA_ASSIGN_OR_RETURN(const Model model, Resolve(reference));
    ModelRecord record = model.record;
    if (record.state() != ModelRecord::READY) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_READY",
                       absl::StrCat("model '", reference, "': expected state READY, found ",
                                    ModelRecord::State_Name(record.state())));
    }
    if (!record.repack_job_id().empty()) {
      const absl::StatusOr<Job> job = jobs_->Get(record.repack_job_id());
      if (job.ok() && !HasEnded(job->record)) return record.repack_job_id();
    }
    Commit commit;
    record.set_repack_job_id(jobs_->AddTo(commit, store::v1::JobRecord::REPACK, record, effort));
    const std::string key = keys::Model(record.id());
    commit.Require(key, model.version).Write(key, record.SerializeAsString());
    WDELTA_RETURN_IF_ERROR(catalog_->Apply(commit).status());
    return record.repack_job_id();
  });
}

absl::StatusOr<Tag> Models::SetTag(absl::string_view name, absl::string_view tag,
                                   absl::string_view model_reference) {
  WDELTA_RETURN_IF_ERROR(ValidateName(name));
  WDELTA_RETURN_IF_ERROR(ValidateTag(tag));
  return RetryOnConflict([&]() -> absl::StatusOr<Tag> {
    WDELTA_ASSIGN_OR_RETURN(const Model model, Resolve(model_reference));
    const std::string key = keys::Tag(name, tag);
    WDELTA_ASSIGN_OR_RETURN(const auto old, ReadRecord<TagRecord>(*catalog_, key));
    Tag made{std::string(name), std::string(tag), {}};
    made.record.set_model_id(model.record.id());
    made.record.set_update_time_us(ToMicros(clock_->Now()));
    Commit commit;
    // The model must still be live when the tag appears; written again, unchanged, so that
    // a deletion that has not seen the tag fails and looks again.
    const std::string model_key = keys::Model(model.record.id());
    commit.Require(model_key, model.version);
    commit.Write(model_key, model.record.SerializeAsString());
    commit.Require(key, old.has_value() ? old->version : 0);
    if (old.has_value() && old->message.model_id() != model.record.id()) {
      commit.Erase(keys::Tagged(old->message.model_id(), name, tag));
    }
    commit.Write(keys::Tagged(model.record.id(), name, tag), "");
    commit.Write(key, made.record.SerializeAsString());
    WDELTA_RETURN_IF_ERROR(catalog_->Apply(commit).status());
    return made;
  });
}

absl::Status Models::DeleteTag(absl::string_view name, absl::string_view tag) {
  WDELTA_RETURN_IF_ERROR(ValidateName(name));
  WDELTA_RETURN_IF_ERROR(ValidateTag(tag));
  return RetryOnConflict([&]() -> absl::Status {
    const std::string key = keys::Tag(name, tag);
    WDELTA_ASSIGN_OR_RETURN(const auto old, ReadRecord<TagRecord>(*catalog_, key));
    if (!old.has_value()) {
      return MakeError(absl::StatusCode::kNotFound, "TAG_NOT_FOUND",
                       absl::StrCat("no tag '", name, "@", tag, "'"));
    }
    Commit commit;
    commit.Require(key, old->version).Erase(key);
    commit.Erase(keys::Tagged(old->message.model_id(), name, tag));
    return catalog_->Apply(commit).status();
  });
}

absl::StatusOr<Page<Tag>> Models::ListTags(absl::string_view name, const std::string& after,
                                           uint32_t limit) {
  if (!name.empty()) WDELTA_RETURN_IF_ERROR(ValidateName(name));
  const std::string prefix = name.empty() ? std::string(keys::kTags) : keys::TagPrefix(name);
  const std::string begin = after.empty() ? prefix : absl::StrCat(keys::kTags, after) + '\0';
  WDELTA_ASSIGN_OR_RETURN(
      const ScanPage records,
      catalog_->Scan({std::max(begin, prefix), PrefixEnd(prefix), limit, false}));
  Page<Tag> page;
  for (const Record& record : records.records) {
    WDELTA_ASSIGN_OR_RETURN(auto parsed, ParseRecord<TagRecord>(record));
    const std::vector<std::string> parts =
        absl::StrSplit(record.key.substr(keys::kTags.size()), absl::MaxSplits('@', 1));
    page.items.push_back({parts[0], parts[1], std::move(parsed.message)});
  }
  if (records.more && !page.items.empty()) {
    page.next = absl::StrCat(page.items.back().name, "@", page.items.back().tag);
  }
  return page;
}

}  // namespace wdelta

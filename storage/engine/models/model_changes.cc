// Deletion and repacking: the parts of Models that change several records at once.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/models/models.h"
#include "storage/engine/records/content_index.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::NameRecord;

}  // namespace

absl::Status Models::AddDeletion(const Model& model, absl::string_view author, bool adds_reclaim,
                                 Commit& commit) {
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
  if (!record.request_id().empty()) commit.Erase(keys::Request(record.request_id()));
  WDELTA_RETURN_IF_ERROR(RemoveFromIndex(*catalog_, record.id(), commit));
  WDELTA_RETURN_IF_ERROR(AddDeletionOfTags(record, author, commit));

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

absl::Status Models::Delete(absl::string_view reference, absl::string_view author) {
  WDELTA_RETURN_IF_ERROR(ValidateAuthor(author));
  return RetryOnConflict([&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const Model model, Resolve(reference));
    Commit commit;
    WDELTA_RETURN_IF_ERROR(AddDeletion(model, author, true, commit));
    return catalog_->Apply(commit).status();
  });
}

absl::Status Models::DeleteAs(const Model& model,
                              const std::vector<Commit::Condition>& conditions) {
  Commit commit;
  commit.conditions = conditions;
  WDELTA_RETURN_IF_ERROR(AddDeletion(model, {}, false, commit));
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

}  // namespace wdelta

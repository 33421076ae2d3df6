#include "storage/engine/gc/sweep.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "storage/base/error.h"
#include "storage/base/id.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/catalog/maintenance_keys.h"
#include "storage/engine/gc/deleted_models.h"
#include "storage/engine/records/confirm_version.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::BlobRecord;
using store::v1::JobRecord;
using store::v1::LabelRunRecord;
using store::v1::ModelRecord;
using store::v1::UploadRecord;

constexpr uint32_t kScanRecords = 1000;

// Another job is at the same thing, or has changed it meanwhile: there is a next time.
bool IsLeftToOthers(const absl::Status& status) {
  return absl::IsAborted(status) || ErrorReason(status) == "BLOB_RECLAIMED";
}

class Sweeper {
 public:
  Sweeper(const JobDependencies& deps, const SweepOptions& options, Swept& swept)
      : deps_(deps), options_(options), swept_(swept) {}

  absl::Status Run() {
    WDELTA_RETURN_IF_ERROR(ForEach(keys::kBlobsOf, [this](const Record& r) { return Claim(r); }));
    WDELTA_RETURN_IF_ERROR(ForEach(keys::kBlobs, [this](const Record& r) { return Mark(r); }));
    WDELTA_RETURN_IF_ERROR(SweepBlobs());
    WDELTA_RETURN_IF_ERROR(SweepStaging());
    WDELTA_RETURN_IF_ERROR(ForEach(keys::kUploads, [this](const Record& r) { return Upload(r); }));
    WDELTA_RETURN_IF_ERROR(ForEach(keys::kJobs, [this](const Record& r) { return EndedJob(r); }));
    return SweepLabelRuns();
  }

 private:
  // What an owner's claims are good for.
  struct OwnerUse {
    bool is_all = false;
    absl::flat_hash_set<std::string> pieces;  // otherwise only these
  };

  absl::Status ForEach(absl::string_view prefix,
                       const std::function<absl::Status(const Record& record)>& visit) {
    ScanRequest request{std::string(prefix), PrefixEnd(prefix), kScanRecords, false};
    while (true) {
      WDELTA_ASSIGN_OR_RETURN(const ScanPage page, deps_.catalog->Scan(request));
      for (const Record& record : page.records) {
        WDELTA_RETURN_IF_ERROR(options_.alive());
        WDELTA_RETURN_IF_ERROR(visit(record));
      }
      if (!page.more || page.records.empty()) return absl::OkStatus();
      request.begin = page.records.back().key + '\0';
    }
  }

  absl::StatusOr<bool> IsActive(const std::string& job_id) {
    if (job_id.empty() || job_id == options_.job_id) return false;
    const absl::StatusOr<Job> job = deps_.queue->Get(job_id);
    if (absl::IsNotFound(job.status())) return false;
    WDELTA_RETURN_IF_ERROR(job.status());
    return !HasEnded(job->record);
  }

  absl::StatusOr<OwnerUse> UseOf(const std::string& owner) {
    OwnerUse use;
    const std::string model_id = owner.substr(0, kIdChars);
    std::string job_id = owner.size() > kIdChars ? owner.substr(kIdChars + 1) : "";
    if (job_id.empty()) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps_.models->GetById(model_id));
      if (model.has_value()) job_id = model->record.job_id();
    }
    // Job and use before the model: what is committed before they end is seen in the model.
    WDELTA_ASSIGN_OR_RETURN(const bool is_active, IsActive(job_id));
    const bool is_in_use = deps_.reader->InUse(model_id);
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps_.models->GetById(model_id));
    if (!model.has_value()) {
      use.is_all = is_in_use || !IsAbsent(model_id);
      return use;
    }
    const ModelRecord& record = model->record;
    const auto& retired = record.retired_owners();
    use.is_all =
        is_active || is_in_use || std::find(retired.begin(), retired.end(), owner) != retired.end();
    const bool is_form =
        record.delta_owner().empty() ? owner == model_id : owner == record.delta_owner();
    if (use.is_all || !is_form) return use;
    for (const store::v1::DeltaPiece& piece : record.delta_pieces()) {
      use.pieces.insert(absl::BytesToHexString(piece.blob_digest()));
    }
    return use;
  }

  // Whether a model that was not found cannot come to be by a commit whose answer was lost.
  bool IsAbsent(const std::string& model_id) {
    return options_.dry_run || ConfirmVersion(*deps_.catalog, keys::Model(model_id), 0).ok();
  }

  // `blob_of/<owner>/<hex>`; those of one owner follow each other.
  absl::Status Claim(const Record& record) {
    const size_t slash = record.key.rfind('/');
    if (slash < keys::kBlobsOf.size()) return absl::OkStatus();
    const std::string owner =
        record.key.substr(keys::kBlobsOf.size(), slash - keys::kBlobsOf.size());
    const std::string hex = record.key.substr(slash + 1);
    if (owner != owner_) {
      WDELTA_ASSIGN_OR_RETURN(owner_use_, UseOf(owner));
      owner_ = owner;
    }
    if (owner_use_.is_all || owner_use_.pieces.contains(hex)) return absl::OkStatus();
    ++swept_.orphan_claims;
    if (options_.dry_run) return CountClaim(hex);
    const absl::Status released = deps_.claims->Release(owner, hex, &swept_.freed_bytes);
    return IsLeftToOthers(released) ? absl::OkStatus() : released;
  }

  // The blob goes with the last of its claims.
  absl::Status CountClaim(const std::string& hex) {
    WDELTA_ASSIGN_OR_RETURN(const auto blob,
                            ReadRecord<BlobRecord>(*deps_.catalog, keys::Blob(hex)));
    if (!blob.has_value() || ++orphans_of_[hex] < blob->message.model_ids_size()) {
      return absl::OkStatus();
    }
    return CountBlob(hex);
  }

  absl::Status CountBlob(const std::string& hex) {
    WDELTA_ASSIGN_OR_RETURN(const Digest digest, Digest::FromHex(hex));
    const absl::StatusOr<BlobInfo> blob = deps_.blobs->Stat(digest);
    if (blob.ok()) swept_.freed_bytes += blob->size_bytes;
    return absl::OkStatus();
  }

  // `blob/<hex>`: a deletion that was interrupted.
  absl::Status Mark(const Record& record) {
    WDELTA_ASSIGN_OR_RETURN(const auto blob, ParseRecord<BlobRecord>(record));
    if (!blob.message.model_ids().empty()) return absl::OkStatus();
    return DeleteBlob(record.key.substr(keys::kBlobs.size()));
  }

  absl::Status DeleteBlob(const std::string& hex) {
    ++swept_.orphan_blobs;
    if (options_.dry_run) return CountBlob(hex);
    const absl::Status deleted = deps_.claims->DeleteUnclaimed(hex, &swept_.freed_bytes);
    return IsLeftToOthers(deleted) ? absl::OkStatus() : deleted;
  }

  // Blobs without a record: a claim is always made before its blob.
  absl::Status SweepBlobs() {
    std::string after;
    while (true) {
      WDELTA_ASSIGN_OR_RETURN(const BlobPage page, deps_.blobs->List(after, kScanRecords));
      for (const BlobInfo& blob : page.blobs) {
        WDELTA_RETURN_IF_ERROR(options_.alive());
        after = blob.digest.ToHex();
        WDELTA_ASSIGN_OR_RETURN(const std::optional<Record> record,
                                deps_.catalog->Get(keys::Blob(after)));
        if (!record.has_value()) WDELTA_RETURN_IF_ERROR(DeleteBlob(after));
      }
      if (!page.more || page.blobs.empty()) return absl::OkStatus();
    }
  }

  // Whether staged bytes of an upload are needed.
  absl::StatusOr<bool> IsStagedFor(const std::string& upload_id) {
    WDELTA_ASSIGN_OR_RETURN(const auto upload,
                            ReadRecord<UploadRecord>(*deps_.catalog, keys::Upload(upload_id)));
    // An upload that is being started has a folder before it has a record.
    const absl::Duration min_age = absl::Milliseconds(limits::kMinStrayAgeMs);
    if (!upload.has_value()) return deps_.clock->Now() - TimeOfId(upload_id) < min_age;
    if (upload->message.state() == UploadRecord::OPEN) return true;
    return IsHeldByModel(upload->message);
  }

  absl::StatusOr<bool> IsHeldByModel(const UploadRecord& upload) {
    if (upload.model_id().empty()) return false;
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model,
                            deps_.models->GetById(upload.model_id()));
    return model.has_value() && model->record.staging_id() == upload.id();
  }

  absl::Status SweepStaging() {
    std::set<std::string> uploads;  // in an order that is the same every time
    WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> folders, deps_.staging->ListFolders());
    uploads.insert(folders.begin(), folders.end());
    WDELTA_RETURN_IF_ERROR(ForEach(keys::kStaged, [&](const Record& record) {
      uploads.insert(record.key.substr(keys::kStaged.size(), kIdChars));
      return absl::OkStatus();
    }));
    for (const std::string& upload_id : uploads) {
      WDELTA_RETURN_IF_ERROR(options_.alive());
      if (!IsWellFormedId(upload_id)) continue;
      WDELTA_ASSIGN_OR_RETURN(const bool is_needed, IsStagedFor(upload_id));
      if (is_needed) continue;
      ++swept_.orphan_uploads;
      if (!options_.dry_run) WDELTA_RETURN_IF_ERROR(deps_.staging->Remove(upload_id));
    }
    return absl::OkStatus();
  }

  bool IsOld(absl::Time time) const {
    return deps_.clock->Now() - time >= absl::Milliseconds(limits::kKeepEndedMs);
  }

  absl::Status EraseOld(Commit commit) {
    ++swept_.old_records;
    if (options_.dry_run) return absl::OkStatus();
    const absl::Status erased = deps_.catalog->Apply(commit).status();
    return IsLeftToOthers(erased) ? absl::OkStatus() : erased;
  }

  absl::Status Upload(const Record& record) {
    WDELTA_ASSIGN_OR_RETURN(const auto parsed, ParseRecord<UploadRecord>(record));
    const UploadRecord& upload = parsed.message;
    if (upload.state() == UploadRecord::OPEN) return absl::OkStatus();
    // It was finished when its model was made; its last change was its end otherwise.
    const bool has_model = IsWellFormedId(upload.model_id());
    const absl::Time ended = std::max(TimeOfId(has_model ? upload.model_id() : upload.id()),
                                      absl::FromUnixMicros(upload.update_time_us()));
    if (!IsOld(ended)) return absl::OkStatus();
    // The record is what tells that the staged bytes are needed.
    WDELTA_ASSIGN_OR_RETURN(const bool is_held, IsHeldByModel(upload));
    if (is_held) return absl::OkStatus();
    Commit commit;
    commit.Require(record.key, parsed.version).Erase(record.key);
    if (!upload.request_id().empty()) commit.Erase(keys::Request(upload.request_id()));
    return EraseOld(std::move(commit));
  }

  absl::Status EndedJob(const Record& record) {
    WDELTA_ASSIGN_OR_RETURN(const auto parsed, ParseRecord<JobRecord>(record));
    const JobRecord& job = parsed.message;
    if (!HasEnded(job) || !IsOld(absl::FromUnixMicros(job.update_time_us()))) {
      return absl::OkStatus();
    }
    Commit commit;
    commit.Require(record.key, parsed.version).Erase(record.key);
    return EraseOld(std::move(commit));
  }

  // Counters of positions: see retention.h.
  absl::Status SweepLabelRuns() {
    std::map<std::pair<std::string, std::string>, Commit> runs;
    WDELTA_RETURN_IF_ERROR(ForEach(keys::kLabelRuns, [&](const Record& record) -> absl::Status {
      WDELTA_ASSIGN_OR_RETURN(const auto run, ParseRecord<LabelRunRecord>(record));
      Commit commit;
      commit.Require(record.key, run.version).Erase(record.key);
      runs[{run.message.label(), run.message.value()}] = std::move(commit);
      return absl::OkStatus();
    }));
    if (runs.empty()) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(ForEachModel(*deps_.catalog, [&](const Model& model) {
      if (model.record.state() != ModelRecord::DELETED) {
        for (const auto& [label, value] : model.record.labels()) runs.erase({label, value});
      }
      return options_.alive();
    }));
    for (auto& [run, commit] : runs) WDELTA_RETURN_IF_ERROR(EraseOld(std::move(commit)));
    return absl::OkStatus();
  }

  const JobDependencies& deps_;
  const SweepOptions& options_;
  Swept& swept_;
  std::string owner_;  // whose use is in `owner_use_`
  OwnerUse owner_use_;
  absl::flat_hash_map<std::string, int> orphans_of_;  // claims of a blob, in a dry run
};

}  // namespace

absl::Status Sweep(const JobDependencies& deps, const SweepOptions& options, Swept& swept) {
  return Sweeper(deps, options, swept).Run();
}

}  // namespace wdelta

#include "storage/engine/uploads/uploads.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/models/new_model.h"
#include "storage/engine/records/fidelity.h"
#include "storage/engine/records/records.h"
#include "storage/engine/uploads/parent_references.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {
namespace {

using store::v1::ParentEdge;
using store::v1::RequestRecord;
using store::v1::UploadEntry;
using store::v1::UploadRecord;

absl::Status ValidateEntry(const EntryParams& entry) {
  WDELTA_RETURN_IF_ERROR(ValidateCheckpointPath(entry.path));
  if (entry.size_bytes > limits::kMaxFileBytes) {
    return MakeError(absl::StatusCode::kResourceExhausted, "FILE_TOO_LARGE",
                     absl::StrCat(entry.path, ": expected at most ", limits::kMaxFileBytes,
                                  " bytes, found ", entry.size_bytes),
                     {{"file", entry.path}});
  }
  if (!entry.sha256_hex.empty() && !Digest::FromHex(entry.sha256_hex).ok()) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_DIGEST",
                     absl::StrCat(entry.path, ": sha256: expected 64 lower-case hex digits"),
                     {{"file", entry.path}});
  }
  return absl::OkStatus();
}

// Adds an entry unless it is there already.
absl::Status MergeEntry(const EntryParams& entry, UploadRecord& upload,
                        absl::flat_hash_map<std::string, int>& index_by_path) {
  const auto [found, added] = index_by_path.try_emplace(entry.path, upload.entries_size());
  const std::string sha256 =
      entry.sha256_hex.empty() ? "" : Digest::FromHex(entry.sha256_hex).value().ToBytes();
  if (!added) {
    UploadEntry* known = upload.mutable_entries(found->second);
    const bool other_digest =
        !sha256.empty() && !known->sha256().empty() && sha256 != known->sha256();
    if (known->size_bytes() == entry.size_bytes && !other_digest) {
      if (!sha256.empty()) known->set_sha256(sha256);
      return absl::OkStatus();
    }
    return MakeError(
        absl::StatusCode::kAlreadyExists, "ENTRY_EXISTS",
        absl::StrCat(entry.path, ": declared before with ", known->size_bytes(), " bytes, found ",
                     entry.size_bytes, other_digest ? " and another sha256" : ""),
        {{"file", entry.path}});
  }
  UploadEntry* made = upload.add_entries();
  made->set_path(entry.path);
  made->set_size_bytes(entry.size_bytes);
  made->set_sha256(sha256);
  return absl::OkStatus();
}

}  // namespace

absl::Status UploadNotFound(absl::string_view upload_id) {
  return MakeError(absl::StatusCode::kNotFound, "UPLOAD_NOT_FOUND",
                   absl::StrCat("no upload '", upload_id, "'"));
}

bool MayShowParents(UploadRecord::Kind kind, const store::v1::FidelityPolicy& fidelity) {
  return kind == UploadRecord::WDELTA || AllowsLoss(fidelity);
}

absl::StatusOr<Uploads::Stored> Uploads::Load(const std::string& upload_id) {
  WDELTA_ASSIGN_OR_RETURN(auto record,
                          ReadRecord<UploadRecord>(*deps_.catalog, keys::Upload(upload_id)));
  if (!record.has_value()) return UploadNotFound(upload_id);
  return Stored{std::move(record->message), record->version};
}

absl::StatusOr<Uploads::Stored> Uploads::LoadOpen(const std::string& upload_id) {
  WDELTA_ASSIGN_OR_RETURN(Stored stored, Load(upload_id));
  if (stored.record.expired()) return UploadExpired(stored.record);
  if (stored.record.state() != UploadRecord::OPEN) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "UPLOAD_ENDED",
                     absl::StrCat("upload '", upload_id, "' has ended as ",
                                  UploadRecord::State_Name(stored.record.state())));
  }
  return stored;
}

absl::StatusOr<UploadView> Uploads::ViewOf(UploadRecord record) {
  UploadView view;
  if (record.state() == UploadRecord::OPEN) {
    WDELTA_ASSIGN_OR_RETURN(const auto staged,
                            deps_.staging->DurableSizes(record.id(), record.entries_size()));
    for (const auto& size : staged) view.durable_bytes.push_back(size.durable_bytes());
    view.expire_time = ExpireTime(record, staged);
  } else {
    for (const UploadEntry& entry : record.entries()) {
      view.durable_bytes.push_back(entry.size_bytes());
    }
  }
  view.record = std::move(record);
  return view;
}

absl::Status Uploads::Recover() {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> open,
                          ScanKeySuffixes(*deps_.catalog, std::string(keys::kOpenUploads)));
  for (const std::string& upload_id : open) {
    const absl::StatusOr<Stored> upload = Load(upload_id);
    if (absl::IsNotFound(upload.status())) continue;
    WDELTA_RETURN_IF_ERROR(upload.status());
    const auto& entries = upload->record.entries();
    WDELTA_ASSIGN_OR_RETURN(const auto staged,
                            deps_.staging->DurableSizes(upload_id, entries.size()));
    uint64_t missing_bytes = 0;
    for (int i = 0; i < entries.size(); ++i) {
      const uint64_t size_bytes = entries[i].size_bytes();
      missing_bytes += size_bytes - std::min(size_bytes, staged[i].durable_bytes());
    }
    space_.Restore(upload_id, missing_bytes);
  }
  return absl::OkStatus();
}

absl::StatusOr<UploadView> Uploads::Get(const std::string& upload_id) {
  WDELTA_ASSIGN_OR_RETURN(Stored stored, Load(upload_id));
  return ViewOf(std::move(stored.record));
}

absl::StatusOr<Page<UploadView>> Uploads::ListOpen(const std::string& after, uint32_t limit) {
  const std::string prefix(keys::kOpenUploads);
  const std::string begin = after.empty() ? prefix : keys::OpenUpload(after) + '\0';
  WDELTA_ASSIGN_OR_RETURN(const ScanPage records,
                          deps_.catalog->Scan({begin, PrefixEnd(prefix), limit, false}));
  Page<UploadView> page;
  for (const Record& record : records.records) {
    const std::string id = record.key.substr(prefix.size());
    const absl::StatusOr<Stored> stored = Load(id);
    if (absl::IsNotFound(stored.status())) continue;  // ended in between
    WDELTA_RETURN_IF_ERROR(stored.status());
    page.items.push_back({stored->record, {}});
    if (records.more) page.next = id;
  }
  return page;
}

absl::StatusOr<UploadView> Uploads::Start(const StartUploadParams& params,
                                          const NameCheck& check_name) {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<RequestRecord> earlier,
                          FindRequest(*deps_.catalog, params.request_id, params.fingerprint));
  if (earlier.has_value()) return Get(earlier->upload_id());
  WDELTA_RETURN_IF_ERROR(ValidateName(params.name));
  WDELTA_RETURN_IF_ERROR(ValidateLabels(params.labels));
  WDELTA_RETURN_IF_ERROR(ValidateClientMetadata(params.metadata));
  WDELTA_RETURN_IF_ERROR(ValidateFidelity(params.fidelity));
  if (params.kind == UploadRecord::WDELTA && AllowsLoss(params.fidelity)) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_FIDELITY",
                     "fidelity: expected lossless for an import, found a lossy policy",
                     {{"field", "fidelity"}});
  }
  WDELTA_RETURN_IF_ERROR(CheckNameFree(*deps_.catalog, params.name, params.new_version));
  const bool may_show = MayShowParents(params.kind, params.fidelity);
  WDELTA_ASSIGN_OR_RETURN(
      const std::vector<ParentEdge> parents,
      ResolveParents(*deps_.models, params.parents, may_show ? check_name : nullptr));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> open,
                          ScanKeySuffixes(*deps_.catalog, std::string(keys::kOpenUploads)));
  if (open.size() >= deps_.max_open_uploads) {
    return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_UPLOADS",
                     absl::StrCat("expected fewer than ", deps_.max_open_uploads,
                                  " open uploads, found ", open.size()));
  }

  WDELTA_RETURN_IF_ERROR(
      deps_.disk->Reserve(0, absl::StrCat("upload of '", params.name, "'")).status());

  UploadRecord record;
  record.set_id(deps_.ids->Next());
  record.set_name(params.name);
  record.set_state(UploadRecord::OPEN);
  record.set_kind(params.kind);
  record.mutable_parents()->Add(parents.begin(), parents.end());
  record.mutable_labels()->insert(params.labels.begin(), params.labels.end());
  record.mutable_metadata()->insert(params.metadata.begin(), params.metadata.end());
  record.set_new_version(params.new_version);
  if (AllowsLoss(params.fidelity)) *record.mutable_fidelity() = params.fidelity;
  record.set_create_time_us(ToMicros(deps_.clock->Now()));
  record.set_request_id(params.request_id);
  WDELTA_RETURN_IF_ERROR(deps_.staging->CreateFolder(record.id()));
  Commit commit;
  commit.Require(keys::Upload(record.id()), 0);
  commit.Write(keys::Upload(record.id()), record.SerializeAsString());
  commit.Write(keys::OpenUpload(record.id()), "");
  if (!params.request_id.empty()) {
    RequestRecord request;
    request.set_fingerprint(params.fingerprint.ToBytes());
    request.set_upload_id(record.id());
    commit.Require(keys::Request(params.request_id), 0);
    commit.Write(keys::Request(params.request_id), request.SerializeAsString());
  }
  WDELTA_RETURN_IF_ERROR(deps_.catalog->Apply(commit).status());
  return ViewOf(std::move(record));
}

absl::StatusOr<UploadView> Uploads::AddEntries(const std::string& upload_id,
                                               const std::vector<EntryParams>& entries) {
  for (const EntryParams& entry : entries) WDELTA_RETURN_IF_ERROR(ValidateEntry(entry));
  return RetryOnConflict([&]() -> absl::StatusOr<UploadView> {
    WDELTA_ASSIGN_OR_RETURN(Stored upload, LoadOpen(upload_id));
    absl::flat_hash_map<std::string, int> index_by_path;
    for (int i = 0; i < upload.record.entries_size(); ++i) {
      index_by_path.emplace(upload.record.entries(i).path(), i);
    }
    uint64_t added_bytes = 0;
    for (const EntryParams& entry : entries) {
      const int known = upload.record.entries_size();
      WDELTA_RETURN_IF_ERROR(MergeEntry(entry, upload.record, index_by_path));
      if (upload.record.entries_size() > known) added_bytes += entry.size_bytes;
    }
    const uint64_t count = upload.record.entries_size();
    if (count > limits::kMaxEntriesPerUpload) {
      return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_ENTRIES",
                       absl::StrCat("upload '", upload_id, "': expected at most ",
                                    limits::kMaxEntriesPerUpload, " entries, found ", count));
    }
    WDELTA_RETURN_IF_ERROR(space_.Add(upload_id, added_bytes));
    upload.record.set_update_time_us(ToMicros(deps_.clock->Now()));
    Commit commit;
    commit.Require(keys::Upload(upload_id), upload.version);
    commit.Write(keys::Upload(upload_id), upload.record.SerializeAsString());
    const absl::Status declared = deps_.catalog->Apply(commit).status();
    // After any other error the entries may be there; the end of the upload gives it back.
    if (absl::IsAborted(declared)) space_.GiveBack(upload_id, added_bytes);
    WDELTA_RETURN_IF_ERROR(declared);
    return ViewOf(std::move(upload.record));
  });
}

absl::Status Uploads::Cancel(const std::string& upload_id) {
  const absl::Status cancelled = RetryOnConflict([&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(Stored upload, Load(upload_id));
    if (upload.record.state() == UploadRecord::CANCELLED) return absl::OkStatus();
    if (upload.record.state() == UploadRecord::FINISHED) return LoadOpen(upload_id).status();
    upload.record.set_state(UploadRecord::CANCELLED);
    upload.record.set_update_time_us(ToMicros(deps_.clock->Now()));
    Commit commit;
    commit.Require(keys::Upload(upload_id), upload.version);
    commit.Write(keys::Upload(upload_id), upload.record.SerializeAsString());
    commit.Erase(keys::OpenUpload(upload_id));
    return deps_.catalog->Apply(commit).status();
  });
  WDELTA_RETURN_IF_ERROR(cancelled);
  space_.GiveBackAll(upload_id);
  return deps_.staging->Remove(upload_id);
}

}  // namespace wdelta

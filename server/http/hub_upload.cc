#include "server/http/hub_upload.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/http/http_limits.h"
#include "server/http/hub_models.h"
#include "server/http/model_card.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using store::v1::FileRecord;
using store::v1::ModelRecord;

constexpr char kCardPath[] = "README.md";

// Calls `take` with the bytes of an object, in order.
absl::Status ReadObject(const HubObject& object,
                        const std::function<absl::Status(absl::string_view)>& take) {
  WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccessFile> file, object.Open());
  std::string piece;
  for (uint64_t offset = 0; offset < object.size_bytes(); offset += piece.size()) {
    piece.resize(std::min(limits::kFetchPieceBytes, object.size_bytes() - offset));
    WDELTA_RETURN_IF_ERROR(file->Read(offset, piece.data(), piece.size()));
    WDELTA_RETURN_IF_ERROR(take(piece));
  }
  return absl::OkStatus();
}

// The same of a file of a model.
absl::Status ReadFile(Reader& reader, const ContentSourcePtr& source, const std::string& path,
                      const std::function<absl::Status(absl::string_view)>& take) {
  const std::vector<CheckpointFile>& files = source->checkpoint().files;
  const auto found =
      std::find_if(files.begin(), files.end(), [&](const auto& f) { return f.path == path; });
  if (found == files.end()) return absl::DataLossError(absl::StrCat(path, ": is not stored"));
  const auto index = static_cast<uint32_t>(found - files.begin());
  const std::shared_ptr<Cursor> cursor =
      reader.NewCursor(source, RangesOfFile(source->checkpoint(), index, 0, found->size_bytes));
  const auto cancel = absl::MakeCleanup([&] { cursor->Cancel(); });
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<CursorPiece> piece, cursor->Next());
    if (!piece.has_value()) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(take(piece->data));
  }
}

}  // namespace

class HubUpload::Turn {
 public:
  Turn(HubUpload* upload, const std::string& repo) : upload_(*upload), repo_(repo) {
    absl::MutexLock lock(&upload_.mutex_);
    const auto is_free = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return !upload_.busy_.contains(repo_);
    };
    upload_.mutex_.Await(absl::Condition(&is_free));
    upload_.busy_.insert(repo_);
  }
  ~Turn() {
    absl::MutexLock lock(&upload_.mutex_);
    upload_.busy_.erase(repo_);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  HubUpload& upload_;
  const std::string repo_;
};

absl::StatusOr<std::optional<Model>> HubUpload::Newest(const std::string& repo) {
  WDELTA_RETURN_IF_ERROR(ValidateName(repo));
  absl::StatusOr<Model> newest = store_.models().Resolve(repo);
  if (absl::IsNotFound(newest.status())) return std::optional<Model>();
  WDELTA_RETURN_IF_ERROR(newest.status());
  return std::optional<Model>(*std::move(newest));
}

absl::StatusOr<bool> HubUpload::Has(const std::string& repo, const Digest& digest,
                                    uint64_t size_bytes) {
  const HubObjectPtr object = objects_.Find(digest);
  if (object != nullptr && object->size_bytes() == size_bytes) return true;
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> newest, Newest(repo));
  if (!newest.has_value() || newest->record.digest().empty()) return false;
  const auto& files = newest->record.files();
  return std::any_of(files.begin(), files.end(), [&](const FileRecord& file) {
    return file.sha256() == digest.ToBytes() && file.size_bytes() == size_bytes;
  });
}

absl::StatusOr<HubUpload::Sources> HubUpload::Apply(const std::string& repo,
                                                    const HubCommit& commit,
                                                    const std::optional<Model>& before) {
  Sources sources;
  std::map<std::string, const Source*> kept_by_digest;
  Sources kept;
  for (int i = 0; before.has_value() && i < before->record.files_size(); ++i) {
    const FileRecord& file = before->record.files(i);
    WDELTA_ASSIGN_OR_RETURN(const Digest digest, Digest::FromBytes(file.sha256()));
    kept[file.path()] = {nullptr, i, digest, file.size_bytes()};
    kept_by_digest[file.sha256()] = &kept[file.path()];
  }
  sources = kept;
  for (const auto& operation : commit.operations) {
    if (const auto* const removed = std::get_if<HubCommit::Remove>(&operation)) {
      if (!absl::EndsWith(removed->path, "/")) {
        sources.erase(removed->path);
        continue;
      }
      const auto begin = sources.lower_bound(removed->path);
      auto end = begin;
      while (end != sources.end() && absl::StartsWith(end->first, removed->path)) ++end;
      sources.erase(begin, end);
      continue;
    }
    const auto& added = std::get<HubCommit::Add>(operation);
    if (const HubObjectPtr object = objects_.Find(added.digest); object != nullptr) {
      sources[added.path] = {object, 0, added.digest, object->size_bytes()};
    } else if (const auto file = kept_by_digest.find(added.digest.ToBytes());
               file != kept_by_digest.end()) {
      sources[added.path] = *file->second;
    } else {
      return MakeError(absl::StatusCode::kInvalidArgument, "OBJECT_NOT_SENT",
                       absl::StrCat(added.path, ": content ", added.digest.ToHex(),
                                    " was not sent to '", repo, "'"),
                       {{"file", added.path}});
    }
    if (sources[added.path].size_bytes != added.size_bytes) {
      return MakeError(absl::StatusCode::kInvalidArgument, "WRONG_SIZE",
                       absl::StrCat(added.path, ": expected ", sources[added.path].size_bytes,
                                    " bytes, found ", added.size_bytes),
                       {{"file", added.path}});
    }
  }
  return sources;
}

absl::StatusOr<std::vector<ParentReference>> HubUpload::ParentsOf(
    const std::string& repo, const Sources& sources, const std::optional<Model>& before) {
  std::vector<ParentReference> parents;
  std::string card;
  const auto source = sources.find(kCardPath);
  if (source != sources.end() && source->second.size_bytes <= http_limits::kMaxCardBytes) {
    const auto take = [&card](absl::string_view data) {
      card.append(data.data(), data.size());
      return absl::OkStatus();
    };
    if (source->second.object != nullptr) {
      WDELTA_RETURN_IF_ERROR(ReadObject(*source->second.object, take));
    } else {
      WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr content, store_.reader().Open(before->record));
      const std::string& path = before->record.files(source->second.file).path();
      WDELTA_RETURN_IF_ERROR(ReadFile(store_.reader(), content, path, take));
    }
  }
  absl::flat_hash_set<std::string> ids;
  for (const std::string& name : BaseModelsOf(card)) {
    // Cards name models that are elsewhere, and write what is no name.
    const absl::StatusOr<Model> base = store_.models().Resolve(name);
    if (!base.ok() || name == repo || !ids.insert(base->record.id()).second) continue;
    parents.push_back({absl::StrCat("id:", base->record.id())});
  }
  if (parents.empty() && before.has_value()) {
    parents.push_back(
        {absl::StrCat("id:", before->record.id()), store::v1::ParentEdge::CONTINUED_TRAINING});
  }
  return parents;
}

absl::Status HubUpload::Copy(const Sources& sources, const std::optional<Model>& before,
                             UploadWriter& writer) {
  ContentSourcePtr content;
  for (const auto& [path, source] : sources) {
    uint64_t offset = 0;
    const auto write = [&, &to = path](absl::string_view data) {
      const uint64_t at = std::exchange(offset, offset + data.size());
      return writer.Write(to, at, data);
    };
    if (source.object != nullptr) {
      WDELTA_RETURN_IF_ERROR(ReadObject(*source.object, write));
      continue;
    }
    if (content == nullptr) {
      WDELTA_ASSIGN_OR_RETURN(content, store_.reader().Open(before->record));
    }
    const std::string& from = before->record.files(source.file).path();
    WDELTA_RETURN_IF_ERROR(ReadFile(store_.reader(), content, from, write));
  }
  return writer.Sync().status();
}

absl::StatusOr<Model> HubUpload::Upload(const std::string& repo, const HubCommit& commit,
                                        const Sources& sources,
                                        const std::optional<Model>& before) {
  StartUploadParams params;
  params.name = repo;
  params.kind = store::v1::UploadRecord::CHECKPOINT;
  params.new_version = true;
  params.metadata["commit_summary"] = commit.summary.substr(0, http_limits::kMaxSummaryBytes);
  if (!ValidateMetadata(params.metadata).ok()) params.metadata.clear();
  WDELTA_ASSIGN_OR_RETURN(params.parents, ParentsOf(repo, sources, before));
  Uploads& uploads = store_.uploads();
  WDELTA_ASSIGN_OR_RETURN(const UploadView upload, uploads.Start(params));
  const std::string id = upload.record.id();
  auto cancel = absl::MakeCleanup([&] { uploads.Cancel(id).IgnoreError(); });
  std::vector<EntryParams> entries;
  for (const auto& [path, source] : sources) {
    entries.push_back({path, source.size_bytes, source.digest.ToHex()});
  }
  WDELTA_RETURN_IF_ERROR(uploads.AddEntries(id, entries).status());
  {
    WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<UploadWriter> writer, uploads.OpenWriter(id));
    WDELTA_RETURN_IF_ERROR(Copy(sources, before, *writer));
  }
  WDELTA_ASSIGN_OR_RETURN(FinishedUpload finished, uploads.Finish(id, {}));
  std::move(cancel).Cancel();
  return std::move(finished.model);
}

absl::StatusOr<Model> HubUpload::Commit(const std::string& repo, const HubCommit& commit) {
  const Turn turn(this, repo);
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> before, Newest(repo));
  if (before.has_value() && before->record.digest().empty()) {
    return MakeError(absl::StatusCode::kUnavailable, "MODEL_NOT_READY",
                     absl::StrCat("model '", repo, "' is being stored; try again"));
  }
  const std::string head = before.has_value() ? CommitOf(before->record) : "";
  if (!commit.parent_commit.empty() && !absl::StartsWith(head, commit.parent_commit)) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "PARENT_COMMIT_MOVED",
                     absl::StrCat("model '", repo, "': expected commit ", commit.parent_commit,
                                  " as its newest, found ", head.empty() ? "none" : head));
  }
  WDELTA_ASSIGN_OR_RETURN(const Sources sources, Apply(repo, commit, before));
  if (before.has_value()) {
    const auto& files = before->record.files();
    const bool is_same =
        static_cast<size_t>(files.size()) == sources.size() &&
        std::all_of(files.begin(), files.end(), [&](const FileRecord& file) {
          const auto source = sources.find(file.path());
          return source != sources.end() && source->second.digest.ToBytes() == file.sha256();
        });
    if (is_same) return *before;
  }
  WDELTA_ASSIGN_OR_RETURN(Model model, Upload(repo, commit, sources, before));
  for (const auto& [path, source] : sources) {
    if (source.object != nullptr) objects_.Drop(source.digest);
  }
  return model;
}

}  // namespace wdelta

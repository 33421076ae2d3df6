#include "server/http/hub_upload.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/http/commit_uploads.h"
#include "server/http/http_limits.h"
#include "server/http/hub_content.h"
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

StringMap ToMap(const google::protobuf::Map<std::string, std::string>& map) {
  return {map.begin(), map.end()};
}

// What a version is stored with has changed while it was made of it; the bytes can be copied.
bool IsOvertaken(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  return reason == "PARENT_GONE" || reason == "PARENT_MOVED" || reason == "BLOB_RECLAIMED" ||
         reason == "MODEL_NOT_READY" || absl::IsAborted(status);
}

// The longest beginning of at most `max_bytes` that ends with a whole character.
std::string Utf8Prefix(const std::string& text, size_t max_bytes) {
  size_t size = std::min(text.size(), max_bytes);
  const auto continues = [&] { return size < text.size() && (text[size] & 0xC0) == 0x80; };
  while (size > 0 && continues()) --size;
  return text.substr(0, size);
}

absl::Status Stopping() {
  return MakeError(absl::StatusCode::kUnavailable, "STOPPING", "the server is stopping");
}

}  // namespace

class HubUpload::Turn {
 public:
  static absl::StatusOr<std::unique_ptr<Turn>> Await(HubUpload* upload, const std::string& repo) {
    absl::MutexLock lock(&upload->mutex_);
    const auto is_free = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return upload->is_stopping_ || !upload->busy_.contains(repo);
    };
    if (!is_free() && upload->waiting_ >= http_limits::kMaxWaitingCommits) {
      return MakeError(absl::StatusCode::kUnavailable, "TOO_MANY_COMMITS",
                       absl::StrCat("expected at most ", http_limits::kMaxWaitingCommits,
                                    " commits that wait for others; try again"));
    }
    ++upload->waiting_;
    upload->mutex_.Await(absl::Condition(&is_free));
    --upload->waiting_;
    if (upload->is_stopping_) return Stopping();
    upload->busy_.insert(repo);
    return std::unique_ptr<Turn>(new Turn(upload, repo));
  }
  ~Turn() {
    absl::MutexLock lock(&upload_.mutex_);
    upload_.busy_.erase(repo_);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Turn(HubUpload* upload, const std::string& repo) : upload_(*upload), repo_(repo) {}

  HubUpload& upload_;
  const std::string repo_;
};

void HubUpload::Stop() {
  absl::MutexLock lock(&mutex_);
  is_stopping_ = true;
}

absl::Status HubUpload::CheckNotStopping() {
  absl::MutexLock lock(&mutex_);
  return is_stopping_ ? Stopping() : absl::OkStatus();
}

absl::StatusOr<std::optional<Model>> HubUpload::Newest(const std::string& repo) {
  WDELTA_RETURN_IF_ERROR(ValidateName(repo));
  absl::StatusOr<Model> newest = models_.Find(repo, kMainBranch, nullptr);
  if (absl::IsNotFound(newest.status())) return std::optional<Model>();
  WDELTA_RETURN_IF_ERROR(newest.status());
  if (newest->record.id().empty()) return std::optional<Model>();  // an empty repository
  return std::optional<Model>(*std::move(newest));
}

absl::StatusOr<std::vector<bool>> HubUpload::Has(const std::string& repo,
                                                 const std::vector<ContentName>& contents) {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> newest, Newest(repo));
  absl::flat_hash_map<std::string, uint64_t> size_by_digest;
  if (newest.has_value()) {
    for (const FileRecord& file : newest->record.files()) {
      size_by_digest[file.sha256()] = file.size_bytes();
    }
  }
  std::vector<bool> has;
  for (const ContentName& content : contents) {
    const HubObjectPtr object = objects_.Find(repo, content.digest);
    const auto stored = size_by_digest.find(content.digest.ToBytes());
    has.push_back((object != nullptr && object->size_bytes() == content.size_bytes) ||
                  (stored != size_by_digest.end() && stored->second == content.size_bytes));
  }
  return has;
}

absl::Status HubUpload::Remove(const std::string& path, Sources& sources) {
  auto begin = sources.find(path);
  auto end = begin == sources.end() ? begin : std::next(begin);
  if (absl::EndsWith(path, "/")) {
    begin = sources.lower_bound(path);
    end = begin;
    while (end != sources.end() && absl::StartsWith(end->first, path)) ++end;
  }
  if (begin == end) {
    return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND",
                     absl::StrCat("commit: there is no '", absl::CHexEscape(path), "' to delete"),
                     {{"file", path}});
  }
  sources.erase(begin, end);
  return absl::OkStatus();
}

absl::StatusOr<HubUpload::Sources> HubUpload::Apply(const std::string& repo,
                                                    const HubCommit& commit,
                                                    const std::optional<Model>& before) {
  Sources sources;
  absl::flat_hash_map<Digest, Source> stored;
  for (int i = 0; before.has_value() && i < before->record.files_size(); ++i) {
    const FileRecord& file = before->record.files(i);
    WDELTA_ASSIGN_OR_RETURN(const Digest digest, Digest::FromBytes(file.sha256()));
    const Source source{nullptr, i, digest, file.size_bytes()};
    sources[file.path()] = source;
    stored[digest] = source;
  }
  for (const auto& operation : commit.operations) {
    if (const auto* const removed = std::get_if<HubCommit::Remove>(&operation)) {
      WDELTA_RETURN_IF_ERROR(Remove(removed->path, sources));
      continue;
    }
    const auto& added = std::get<HubCommit::Add>(operation);
    Source source;
    if (const HubObjectPtr object = objects_.Find(repo, added.digest); object != nullptr) {
      source = {object, 0, added.digest, object->size_bytes()};
    } else if (const auto file = stored.find(added.digest); file != stored.end()) {
      source = file->second;
    } else {
      return MakeError(absl::StatusCode::kInvalidArgument, "OBJECT_NOT_SENT",
                       absl::StrCat(added.path, ": content ", added.digest.ToHex(),
                                    " was not sent to '", repo, "'"),
                       {{"file", added.path}});
    }
    if (source.size_bytes != added.size_bytes.value_or(source.size_bytes)) {
      return MakeError(absl::StatusCode::kInvalidArgument, "WRONG_SIZE",
                       absl::StrCat(added.path, ": expected ", source.size_bytes, " bytes, found ",
                                    *added.size_bytes),
                       {{"file", added.path}});
    }
    sources[added.path] = std::move(source);
  }
  return sources;
}

absl::Status HubUpload::CheckFolders(const Sources& sources) {
  for (const auto& [path, source] : sources) {
    const std::string prefix = absl::StrCat(path, "/");
    const auto below = sources.lower_bound(prefix);
    if (below == sources.end() || !absl::StartsWith(below->first, prefix)) continue;
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PATH",
                     absl::StrCat(path, ": expected a file or a folder, found both"),
                     {{"file", path}});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> HubUpload::ReadCard(const Sources& sources,
                                                const std::optional<Model>& before) {
  std::string card;
  const auto found = sources.find(kCardPath);
  if (found == sources.end() || found->second.size_bytes > http_limits::kMaxCardBytes) return card;
  const auto take = [&card](absl::string_view data) {
    card.append(data.data(), data.size());
    return absl::OkStatus();
  };
  if (found->second.object != nullptr) {
    WDELTA_RETURN_IF_ERROR(ReadObject(*found->second.object, take));
    return card;
  }
  const std::string& path = before->record.files(found->second.file).path();
  WDELTA_RETURN_IF_ERROR(VersionReader(&store_.reader(), &before).Read(path, take));
  return card;
}

absl::StatusOr<std::vector<ParentReference>> HubUpload::ParentsOf(
    const std::string& repo, const Sources& sources, const std::optional<Model>& before) {
  WDELTA_ASSIGN_OR_RETURN(const std::string card, ReadCard(sources, before));
  std::vector<ParentReference> parents;
  absl::flat_hash_set<std::string> ids;
  const auto add = [&](absl::string_view text) {
    // Cards name models that are elsewhere, and write what is no name.
    const std::string name(absl::StripAsciiWhitespace(text));
    if (!ValidateName(name).ok() || name == repo || parents.size() >= limits::kMaxParents) return;
    const absl::StatusOr<Model> base = store_.models().Resolve(name);
    if (!base.ok() || !ids.insert(base->record.id()).second) return;
    parents.push_back({absl::StrCat("id:", base->record.id())});
  };
  for (const std::string& name : BaseModelsOf(card)) add(name);
  if (!parents.empty() || !before.has_value()) return parents;
  const StringMap metadata = ToMap(before->record.metadata());
  if (const auto setting = metadata.find(kBaseModelKey); setting != metadata.end()) {
    for (const absl::string_view name : absl::StrSplit(setting->second, ',')) add(name);
  }
  if (parents.empty()) {
    parents.push_back(
        {absl::StrCat("id:", before->record.id()), store::v1::ParentEdge::CONTINUED_TRAINING});
  }
  return parents;
}

absl::Status HubUpload::Copy(const Sources& sources, const std::optional<Model>& before,
                             UploadWriter& writer) {
  VersionReader version(&store_.reader(), &before);
  for (const auto& [path, source] : sources) {
    uint64_t offset = 0;
    const auto write = [&, &to = path](absl::string_view data) -> absl::Status {
      WDELTA_RETURN_IF_ERROR(CheckNotStopping());
      const uint64_t at = std::exchange(offset, offset + data.size());
      return writer.Write(to, at, data);
    };
    if (source.object != nullptr) {
      WDELTA_RETURN_IF_ERROR(ReadObject(*source.object, write));
      continue;
    }
    const std::string& from = before->record.files(source.file).path();
    WDELTA_RETURN_IF_ERROR(version.Read(from, write));
  }
  return writer.Sync().status();
}

StringMap HubUpload::MetadataOf(const HubCommit& commit, const std::optional<Model>& before) {
  StringMap metadata;
  if (before.has_value()) {
    const auto setting = before->record.metadata().find(kBaseModelKey);
    if (setting != before->record.metadata().end()) metadata.insert(*setting);
  }
  metadata["commit_summary"] = Utf8Prefix(commit.summary, http_limits::kMaxSummaryBytes);
  return metadata;
}

bool HubUpload::KeepsTensors(const Sources& sources, const std::optional<Model>& before) {
  if (!before.has_value() || before->record.state() != ModelRecord::READY) return false;
  uint64_t new_bytes = 0;
  for (const auto& [path, source] : sources) {
    const bool is_safetensors = IsSafetensorsPath(path);
    if (source.object != nullptr) {
      new_bytes += source.size_bytes;
      if (is_safetensors || new_bytes > http_limits::kMaxRevisedBytes) return false;
    } else if (before->record.files(source.file).is_safetensors() != is_safetensors) {
      return false;
    }
  }
  return !sources.empty();
}

absl::StatusOr<Model> HubUpload::Revise(const std::string& repo, const HubCommit& commit,
                                        const Sources& sources,
                                        const std::optional<Model>& before) {
  RevisionParams params;
  params.model_id = before->record.id();
  params.labels = ToMap(before->record.labels());
  params.metadata = MetadataOf(commit, before);
  WDELTA_ASSIGN_OR_RETURN(params.parents, ParentsOf(repo, sources, before));
  for (const auto& [path, source] : sources) {
    RevisedFile& file = params.files.emplace_back();
    file.path = path;
    file.sha256 = source.digest;
    file.size_bytes = source.size_bytes;
    if (source.object == nullptr) {
      file.kept = static_cast<uint32_t>(source.file);
    } else {
      file.open_content =
          [object = source.object]() -> absl::StatusOr<std::shared_ptr<const RandomAccessFile>> {
        WDELTA_ASSIGN_OR_RETURN(std::unique_ptr<RandomAccessFile> content, object->Open());
        return std::shared_ptr<const RandomAccessFile>(std::move(content));
      };
    }
  }
  params.check = [&] { return CheckStillNext(repo, commit); };
  return store_.revisions().Make(params);
}

absl::StatusOr<Model> HubUpload::Upload(const std::string& repo, const HubCommit& commit,
                                        const Sources& sources,
                                        const std::optional<Model>& before) {
  StartUploadParams params;
  params.request_id = NewCommitRequestId();
  params.name = repo;
  params.kind = store::v1::UploadRecord::CHECKPOINT;
  params.new_version = true;
  if (before.has_value()) params.labels = ToMap(before->record.labels());
  params.metadata = MetadataOf(commit, before);
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
  const auto check = [&] { return CheckStillNext(repo, commit); };
  WDELTA_RETURN_IF_ERROR(check());
  WDELTA_ASSIGN_OR_RETURN(FinishedUpload finished, uploads.Finish(id, {}, nullptr, check));
  std::move(cancel).Cancel();
  return std::move(finished.model);
}

absl::Status HubUpload::CheckParent(const std::string& repo, const HubCommit& commit,
                                    const std::optional<Model>& before) {
  const std::string head =
      before.has_value() ? CommitOf(before->record) : std::string(kCommitDigits, '0');
  if (absl::StartsWith(head, commit.parent_commit)) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kFailedPrecondition, "PARENT_COMMIT_MOVED",
      absl::StrCat("model '", repo, "': expected commit ", absl::CHexEscape(commit.parent_commit),
                   " as its newest, found ", head));
}

absl::Status HubUpload::CheckStillNext(const std::string& repo, const HubCommit& commit) {
  WDELTA_RETURN_IF_ERROR(CheckNotStopping());
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> newest, Newest(repo));
  return CheckParent(repo, commit, newest);
}

bool HubUpload::IsSame(const Sources& sources, const std::optional<Model>& before) {
  if (!before.has_value()) return false;
  const auto& files = before->record.files();
  return static_cast<size_t>(files.size()) == sources.size() &&
         std::all_of(files.begin(), files.end(), [&](const FileRecord& file) {
           const auto source = sources.find(file.path());
           return source != sources.end() && source->second.digest.ToBytes() == file.sha256();
         });
}

absl::StatusOr<Model> HubUpload::MakeVersion(const std::string& repo, const HubCommit& commit,
                                             const Sources& sources,
                                             const std::optional<Model>& before) {
  if (IsSame(sources, before)) return *before;
  if (KeepsTensors(sources, before)) {
    absl::StatusOr<Model> revised = Revise(repo, commit, sources, before);
    if (revised.ok() || !IsOvertaken(revised.status())) return revised;
  }
  return Upload(repo, commit, sources, before);
}

absl::StatusOr<Model> HubUpload::Commit(const std::string& repo, const HubCommit& commit) {
  WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<Turn> turn, Turn::Await(this, repo));
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> before, Newest(repo));
  WDELTA_RETURN_IF_ERROR(CheckParent(repo, commit, before));
  WDELTA_ASSIGN_OR_RETURN(const Sources sources, Apply(repo, commit, before));
  WDELTA_RETURN_IF_ERROR(CheckFolders(sources));
  absl::StatusOr<Model> model = MakeVersion(repo, commit, sources, before);
  if (!model.ok()) return model;
  models_.NoteVersion(repo);
  for (const auto& [path, source] : sources) {
    if (source.object != nullptr) objects_.Drop(repo, source.digest);
  }
  return model;
}

}  // namespace wdelta

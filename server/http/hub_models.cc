#include "server/http/hub_models.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/http/http_limits.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/records/model_files.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

constexpr size_t kCommitBytes = kCommitDigits / 2;

absl::Status RepoNotFound(absl::string_view repo) {
  return MakeError(absl::StatusCode::kNotFound, "REPO_NOT_FOUND",
                   absl::StrCat("no model '", absl::CHexEscape(repo), "'"));
}

absl::Status RevisionNotFound(absl::string_view repo, absl::string_view revision,
                              absl::string_view why = "") {
  return MakeError(absl::StatusCode::kNotFound, "REVISION_NOT_FOUND",
                   absl::StrCat("model '", repo, "' has no revision '", absl::CHexEscape(revision),
                                "'", why.empty() ? "" : ": ", why));
}

bool IsDigestPrefix(absl::string_view text) {
  return text.size() >= limits::kMinDigestPrefixDigits && text.size() <= 2 * kDigestBytes &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsServed(const Model& model) { return CanBeFetched(model.record); }

}  // namespace

std::string CommitOf(const ModelRecord& model) {
  return absl::BytesToHexString(model.digest().substr(0, kCommitBytes));
}

absl::Status HubModels::Create(const std::string& repo) {
  WDELTA_RETURN_IF_ERROR(ValidateName(repo));
  const absl::Status known = Newest(repo).status();
  if (!known.ok() && !absl::IsNotFound(known)) return known;
  absl::MutexLock lock(&mutex_);
  if (known.ok() || empty_.contains(repo)) {
    return MakeError(absl::StatusCode::kAlreadyExists, "REPO_EXISTS",
                     absl::StrCat("model '", repo, "' exists"));
  }
  const absl::Time now = clock_.Now();
  const absl::Time oldest = now - absl::Seconds(http_limits::kObjectLifetimeSeconds);
  absl::erase_if(empty_, [oldest](const auto& entry) { return entry.second < oldest; });
  if (empty_.size() >= http_limits::kMaxEmptyRepos) {
    return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_EMPTY_REPOS",
                     absl::StrCat("expected at most ", http_limits::kMaxEmptyRepos,
                                  " repositories without a commit; try again"));
  }
  empty_[repo] = now;
  return absl::OkStatus();
}

void HubModels::NoteVersion(const std::string& repo) {
  absl::MutexLock lock(&mutex_);
  empty_.erase(repo);
}

absl::StatusOr<Model> HubModels::EmptyRepo(const std::string& repo) {
  absl::MutexLock lock(&mutex_);
  const auto found = empty_.find(repo);
  if (found == empty_.end()) return RepoNotFound(repo);
  Model model;
  model.record.set_name(repo);
  model.record.set_digest(std::string(kDigestBytes, '\0'));
  model.record.set_create_time_us(absl::ToUnixMicros(found->second));
  return model;
}

absl::StatusOr<Model> HubModels::Newest(const std::string& repo) {
  if (!ValidateName(repo).ok()) return RepoNotFound(repo);
  absl::StatusOr<Model> newest = models_.Resolve(repo);
  if (absl::IsNotFound(newest.status())) return EmptyRepo(repo);
  if (newest.ok()) NoteVersion(repo);
  return newest;
}

absl::StatusOr<Model> HubModels::Main(const std::string& repo, Model newest) {
  if (IsServed(newest)) return newest;
  WDELTA_ASSIGN_OR_RETURN(std::vector<Model> versions,
                          versions_.UpTo(repo, newest.record.id(), http_limits::kMaxListedCommits));
  const auto served = std::find_if(versions.begin(), versions.end(), IsServed);
  return served == versions.end() ? std::move(newest) : std::move(*served);
}

absl::StatusOr<Model> HubModels::AtRevision(const std::string& repo, const std::string& revision) {
  // Also tells a missing repository from a missing revision.
  WDELTA_ASSIGN_OR_RETURN(Model newest, Newest(repo));
  absl::string_view name = revision;
  const bool is_branch = absl::ConsumePrefix(&name, "refs/heads/");
  if (name == kMainBranch || name == "HEAD") return Main(repo, std::move(newest));
  if (is_branch) return RevisionNotFound(repo, revision);
  const bool is_tag = absl::ConsumePrefix(&name, "refs/tags/");
  if (ValidateTag(name).ok()) {
    absl::StatusOr<Model> tagged = models_.Resolve(absl::StrCat(repo, "@", name));
    if (!absl::IsNotFound(tagged.status())) return tagged;
  }
  if (!is_tag && IsDigestPrefix(name)) {
    absl::StatusOr<std::optional<Model>> version = versions_.Find(repo, name);
    if (absl::IsFailedPrecondition(version.status())) {
      return RevisionNotFound(repo, revision, version.status().message());
    }
    WDELTA_RETURN_IF_ERROR(version.status());
    if (version->has_value()) return **std::move(version);
  }
  return RevisionNotFound(repo, revision);
}

absl::Status HubModels::WhyNotServed(const Model& model, const std::string& revision) {
  const std::string& repo = model.record.name();
  std::string why;
  if (model.record.state() == ModelRecord::FAILED) {
    why = absl::StrCat("it failed: ", model.record.error());
  } else if (!model.record.job_id().empty()) {
    const absl::StatusOr<Job> job = jobs_.Get(model.record.job_id());
    if (job.ok() && HasEnded(job->record)) why = "the job that was to store it was stopped";
  }
  if (!why.empty()) return RevisionNotFound(repo, revision, why);
  return MakeError(absl::StatusCode::kUnavailable, "MODEL_NOT_READY",
                   absl::StrCat("model '", repo, "' at '", absl::CHexEscape(revision),
                                "' is being stored; try again"));
}

absl::StatusOr<Model> HubModels::Find(const std::string& repo, const std::string& revision,
                                      const NameCheck& check_name) {
  WDELTA_ASSIGN_OR_RETURN(Model model, AtRevision(repo, revision));
  // A tag may point at a model of another name.
  if (!MayName(check_name, model.record.name())) return RevisionNotFound(repo, revision);
  if (IsServed(model)) return model;
  // It may have been stored since it was read.
  WDELTA_ASSIGN_OR_RETURN(std::optional<Model> now, models_.GetById(model.record.id()));
  if (now.has_value() && IsServed(*now)) return *std::move(now);
  return WhyNotServed(model, revision);
}

absl::StatusOr<std::vector<Model>> HubModels::History(const std::string& repo,
                                                      const std::string& revision,
                                                      const NameCheck& check_name) {
  WDELTA_ASSIGN_OR_RETURN(const Model model, Find(repo, revision, check_name));
  WDELTA_ASSIGN_OR_RETURN(std::vector<Model> versions,
                          versions_.UpTo(repo, model.record.id(), http_limits::kMaxListedCommits));
  std::erase_if(versions, [](const Model& version) { return !IsServed(version); });
  return versions;
}

absl::StatusOr<std::vector<HubModels::NamedCommit>> HubModels::Tags(const std::string& repo,
                                                                    const NameCheck& check_name) {
  WDELTA_RETURN_IF_ERROR(Newest(repo).status());
  WDELTA_ASSIGN_OR_RETURN(const Page<Tag> page,
                          models_.ListTags(repo, "", http_limits::kMaxListedTags));
  std::vector<NamedCommit> tags;
  for (const Tag& tag : page.items) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model,
                            models_.GetById(tag.record.model_id()));
    if (!model.has_value() || !IsServed(*model)) continue;
    if (!MayName(check_name, model->record.name())) continue;
    tags.push_back({tag.tag, CommitOf(model->record)});
  }
  return tags;
}

}  // namespace wdelta

#include "tests/simulation/client.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "tests/simulation/checks.h"

namespace wdelta::testing {
namespace {

using Code = absl::StatusCode;
using store::v1::ModelRecord;

}  // namespace

SimulatedClient::SimulatedClient(int number, Machine* machine, Oracle* oracle,
                                 ClientOptions options, Fail fail)
    : suffix_(absl::StrCat("-c", number)),
      machine_(*machine),
      oracle_(*oracle),
      options_(std::move(options)),
      fail_(std::move(fail)) {}

void SimulatedClient::Step(ModelStore& store) {
  store_ = &store;
  switch (Below(20)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
      return Upload();
    case 5:
      return UploadPart();
    case 6:
    case 7:
      return Resume();
    case 8:
      return Cancel();
    case 9:
    case 10:
      return Delete();
    case 11:
      return SetTag();
    case 12:
      return DeleteTag();
    case 13:
      return SetLabel();
    case 14:
      return Repack();
    case 15:
      return CollectGarbage();
    case 16:
      return Scrub();
    case 17:
      return options_.merges ? Merge() : Upload();
    case 18:
      return options_.cancels_jobs ? CancelJob() : Delete();
    default:
      return Fetch();
  }
}

void SimulatedClient::Begin(absl::string_view what) {
  what_ = std::string(what);
  faults_before_ = Scheduler::Faults();
  machine_.trace.Add(absl::StrCat("client", suffix_, ": ", what));
}

bool SimulatedClient::MayFail() const {
  return machine_.is_dead() || Scheduler::Faults() != faults_before_;
}

bool SimulatedClient::Succeeded(const absl::Status& status, std::initializer_list<Code> allowed) {
  machine_.trace.Add(absl::StrCat("client", suffix_, ": ", what_, " -> ",
                                  absl::StatusCodeToString(status.code())));
  if (status.ok()) return true;
  if (MayFail()) return false;
  if (std::find(allowed.begin(), allowed.end(), status.code()) != allowed.end()) return false;
  fail_(absl::StrCat("client", suffix_, ": ", what_, ": ", status.ToString()));
  return false;
}

bool SimulatedClient::IsMine(absl::string_view name) const { return absl::EndsWith(name, suffix_); }

std::string SimulatedClient::NewName(absl::string_view kind) {
  return absl::StrCat(kind, ++made_, suffix_);
}

std::vector<LiveModel> SimulatedClient::MyModels(bool also_maybe_deleted) const {
  std::vector<LiveModel> mine;
  for (const auto& [id, model] : oracle_.models) {
    if (IsMine(model.name) && (also_maybe_deleted || !model.maybe_deleted)) mine.push_back(model);
  }
  return mine;
}

std::vector<OpenUpload> SimulatedClient::MyUploads() const {
  std::vector<OpenUpload> mine;
  for (const auto& [id, upload] : oracle_.uploads) {
    if (IsMine(upload.params.name)) mine.push_back(upload);
  }
  return mine;
}

void SimulatedClient::Delete() {
  const std::vector<LiveModel> models = MyModels();
  if (models.size() < std::min<size_t>(options_.max_models, 2)) return Fetch();
  const LiveModel& model = models[Below(models.size())];
  oracle_.MarkMaybeDeleted(model.id);
  Begin(absl::StrCat("delete ", model.id));
  const absl::Status status = store_->models().Delete(model.Reference());
  const bool may_be_gone = model.may_expire && absl::IsNotFound(status);
  if (may_be_gone || Succeeded(status, {Code::kAborted})) oracle_.MarkDeleted(model.id);
}

std::optional<LiveModel> SimulatedClient::ModelToTag() {
  std::vector<const LiveModel*> going;
  std::vector<const LiveModel*> all;
  for (const auto& [id, model] : oracle_.models) {
    if (model.maybe_deleted) going.push_back(&model);
    all.push_back(&model);
  }
  if (all.empty()) return std::nullopt;
  const auto& choice = !going.empty() && Below(2) == 0 ? going : all;
  return *choice[Below(choice.size())];
}

bool SimulatedClient::MayBeGone(const std::string& id) const {
  const auto model = oracle_.models.find(id);
  return model == oracle_.models.end() || model->second.maybe_deleted || model->second.may_expire;
}

void SimulatedClient::SetTag() {
  const std::optional<LiveModel> chosen = ModelToTag();
  if (!chosen.has_value()) return Upload();
  const LiveModel& model = *chosen;
  const std::string name = absl::StrCat("tags", suffix_);
  const std::string tag = absl::StrCat("t", Below(3));
  const auto [targets, is_new] = oracle_.tags.try_emplace(absl::StrCat(name, "@", tag));
  if (is_new) targets->second.insert("");
  targets->second.insert(model.id);
  if (MayBeGone(model.id)) targets->second.insert("");
  Begin(absl::StrCat("tag ", tag, " ", model.id));
  const absl::Status status = store_->models().SetTag(name, tag, model.Reference()).status();
  if (MayBeGone(model.id) && absl::IsNotFound(status) && !MayFail()) return;
  if (!Succeeded(status, {Code::kAborted})) return;
  targets->second.clear();
  if (!oracle_.deleted.contains(model.id)) targets->second.insert(model.id);
  // Whoever deletes the model after that takes the tag with it.
  if (MayBeGone(model.id)) targets->second.insert("");
}

void SimulatedClient::DeleteTag() {
  const std::string name = absl::StrCat("tags", suffix_);
  const std::string tag = absl::StrCat("t", Below(3));
  const auto known = oracle_.tags.find(absl::StrCat(name, "@", tag));
  if (known == oracle_.tags.end()) return SetTag();
  const std::set<std::string> before = known->second;
  known->second.insert("");
  Begin(absl::StrCat("untag ", tag));
  const absl::Status status = store_->models().DeleteTag(name, tag);
  const bool may_be_gone = std::any_of(before.begin(), before.end(), [this](const std::string& id) {
    return id.empty() || MayBeGone(id);
  });
  if (!may_be_gone && absl::IsNotFound(status)) fail_(absl::StrCat(name, "@", tag, " is lost"));
  const bool is_gone =
      Succeeded(status, {Code::kAborted, Code::kNotFound}) || absl::IsNotFound(status);
  if (is_gone) known->second = {""};
}

void SimulatedClient::SetLabel() {
  const std::vector<LiveModel> models = MyModels();
  if (models.empty()) return Upload();
  const LiveModel& model = models[Below(models.size())];
  const std::string value = absl::StrCat(Below(4));
  oracle_.models[model.id].labels.insert(value);
  Begin(absl::StrCat("label ", model.id));
  const StringMap labels = {{kLabel, value}};
  const absl::Status status =
      store_->models().Update(model.Reference(), labels, std::nullopt, 0).status();
  if (model.may_expire && absl::IsNotFound(status)) return;
  if (Succeeded(status, {Code::kAborted})) oracle_.models[model.id].labels = {value};
}

void SimulatedClient::Repack() {
  const std::vector<LiveModel> models = MyModels();
  if (models.empty()) return Upload();
  const LiveModel& model = models[Below(models.size())];
  Begin(absl::StrCat("repack ", model.id));
  const auto effort = Below(2) == 0 ? store::v1::FAST : store::v1::MAX;
  const auto job = store_->models().Repack(model.Reference(), effort);
  if (model.may_expire && absl::IsNotFound(job.status())) return;
  if (Succeeded(job.status(), {Code::kAborted, Code::kFailedPrecondition})) {
    oracle_.jobs.insert(*job);
  }
}

void SimulatedClient::CollectGarbage() {
  Begin("gc");
  const auto job = store_->maintenance().StartGc();
  if (Succeeded(job.status(), {Code::kAborted})) oracle_.jobs.insert(*job);
}

void SimulatedClient::Scrub() {
  Begin("scrub");
  const auto job = store_->maintenance().StartScrub(Below(2) == 0);
  if (Succeeded(job.status(), {Code::kAborted})) oracle_.jobs.insert(*job);
}

void SimulatedClient::CancelJob() {
  if (oracle_.jobs.empty()) return Fetch();
  auto job = oracle_.jobs.end();
  for (uint64_t back = 1 + Below(std::min<uint64_t>(oracle_.jobs.size(), 4)); back > 0; --back) {
    --job;
  }
  oracle_.has_cancelled_jobs = true;
  Begin(absl::StrCat("cancel job ", *job));
  Succeeded(store_->jobs().RequestCancel(*job).status(),
            {Code::kAborted, Code::kFailedPrecondition});
}

void SimulatedClient::Merge() {
  std::vector<LiveModel> models = MyModels();
  if (models.size() < 2 || models.size() >= options_.max_models) return Upload();
  MergeParams params;
  params.request_id = NewName("merge");
  params.fingerprint = Digest::Of(params.request_id);
  params.name = NewName("merged");
  params.recipe.set_method(store::v1::MergeRecipe::LINEAR);
  for (uint64_t i = 0; i < 2; ++i) {
    std::swap(models[i], models[i + Below(models.size() - i)]);
    params.sources.push_back(models[i].Reference());
    params.recipe.add_sources()->set_weight(0.5);
  }
  oracle_.merges[params.request_id] = params;
  Begin(absl::StrCat("merge ", params.name));
  const absl::StatusOr<StartedMerge> started = store_->merges().Start(params);
  if (Succeeded(started.status(), {Code::kAborted, Code::kFailedPrecondition,
                                   Code::kInvalidArgument, Code::kNotFound})) {
    oracle_.jobs.insert(started->job_id);
    return oracle_.AddModelOf(params, started->model.record.id());
  }
  if (!MayFail()) oracle_.merges.erase(params.request_id);
}

void SimulatedClient::Fetch() {
  std::vector<LiveModel> models = MyModels();
  if (models.empty()) return;
  const LiveModel& model = models[Below(models.size())];
  Begin(absl::StrCat("fetch ", model.id));
  const absl::StatusOr<Model> found = store_->models().Resolve(model.Reference());
  if (model.may_expire && absl::IsNotFound(found.status())) return;
  if (!Succeeded(found.status())) return;
  const bool is_exact = model.content != nullptr && !model.is_lossy;
  if (!is_exact && found->record.state() != ModelRecord::READY) return;
  const absl::StatusOr<TestFiles> files = ReadFiles(*store_, found->record, ReadAs::kServed);
  if (model.may_expire && absl::IsNotFound(files.status())) return;
  if (!Succeeded(files.status())) return;
  LiveModel& known = oracle_.models[model.id];
  const Digest digest = DigestOf(*files);
  if (is_exact ? *files != model.content->files : known.served.value_or(digest) != digest) {
    fail_(absl::StrCat(what_, ": other bytes are served"));
  }
  known.served = digest;
}

}  // namespace wdelta::testing

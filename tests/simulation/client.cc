#include "tests/simulation/client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "tests/simulation/checks.h"

namespace wdelta::testing {
namespace {

using Code = absl::StatusCode;
using store::v1::ModelRecord;
using store::v1::UploadRecord;

constexpr size_t kMaxModels = 5;
constexpr size_t kMaxUploads = 2;

std::string Reference(const LiveModel& model) { return absl::StrCat("id:", model.id); }

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

OpenUpload SimulatedClient::NewUpload() {
  OpenUpload upload;
  StartUploadParams& params = upload.params;
  params.request_id = NewName("request");
  params.fingerprint = Digest::Of(params.request_id);
  params.name = NewName("m");
  upload.active_time = machine_.clock.Now();
  std::vector<const LiveModel*> others;  // of any client
  for (const auto& [id, model] : oracle_.models) {
    if (model.content != nullptr && !model.maybe_deleted) others.push_back(&model);
  }
  if (oracle_.last_deleted != nullptr && Below(4) == 0) {
    upload.content = oracle_.last_deleted;  // while its blobs go
  } else if (others.empty() || Below(5) == 0) {
    upload.content = RandomContent(machine_.random, nullptr);
  } else {
    const LiveModel& origin = *others[Below(others.size())];
    const LiveModel& other = *others[Below(others.size())];
    upload.content = RandomContent(machine_.random, origin.content.get());
    if (Below(4) > 0) params.parents.push_back({Reference(origin), {}, {}});
    if (Below(4) == 0 && &other != &origin) params.parents.push_back({Reference(other), {}, {}});
    if (options_.loses && params.parents.size() == 1 && Below(3) == 0) {
      params.fidelity.mutable_all()->set_strategy(store::v1::NEAR_LOSSLESS);
      params.fidelity.mutable_all()->set_relative_error(0.1);
    }
  }
  if (options_.has_retention && Below(2) == 0) {
    params.name = absl::StrCat(kExpiringPrefix, "x", suffix_);
    params.new_version = true;
  } else if (const auto mine = MyModels(); !mine.empty() && Below(4) == 0) {
    params.name = mine[Below(mine.size())].name;
    params.new_version = true;
  }
  return upload;
}

void SimulatedClient::Upload() {
  if (MyModels(true).size() >= kMaxModels) return Delete();
  if (MyUploads().size() >= kMaxUploads) return Resume();
  OpenUpload upload = NewUpload();
  oracle_.uploads[upload.params.request_id] = upload;
  Finish(std::move(upload));
}

void SimulatedClient::UploadPart() {
  if (MyUploads().size() >= kMaxUploads) return Cancel();
  OpenUpload upload = NewUpload();
  oracle_.uploads[upload.params.request_id] = upload;
  Write(upload, false);
}

void SimulatedClient::Resume() {
  const std::vector<OpenUpload> uploads = MyUploads();
  if (uploads.empty() || MyModels(true).size() >= kMaxModels) return Fetch();
  Finish(uploads[Below(uploads.size())]);
}

// True, and the upload is forgotten, when the error tells that it was cancelled for its age.
bool SimulatedClient::HasExpired(const OpenUpload& upload, const absl::Status& status) {
  if (ErrorReason(status) != "UPLOAD_EXPIRED" ||
      machine_.clock.Now() < upload.active_time + options_.upload_ttl) {
    return false;
  }
  oracle_.uploads.erase(upload.params.request_id);
  return true;
}

bool SimulatedClient::Open(OpenUpload& upload, UploadView& view) {
  Begin(absl::StrCat("start ", upload.params.name));
  const absl::Time now = machine_.clock.Now();
  absl::StatusOr<UploadView> started = store_->uploads().Start(upload.params);
  if (!Succeeded(started.status(), {Code::kNotFound})) {
    // A parent was deleted by another client: it never was.
    if (absl::IsNotFound(started.status()) && upload.id.empty() && !MayFail()) {
      oracle_.uploads.erase(upload.params.request_id);
    }
    return false;
  }
  view = *std::move(started);
  if (upload.id.empty()) {
    upload.id = view.record.id();
    upload.active_time =
        std::max(upload.active_time, absl::FromUnixMicros(view.record.create_time_us()));
  }
  if (upload.id != view.record.id()) fail_(absl::StrCat(what_, " opens another upload"));
  if (view.record.state() == UploadRecord::FINISHED) {
    oracle_.AddModelOf(upload, view.record.model_id());
    return false;
  }
  if (view.record.state() == UploadRecord::CANCELLED) {
    const bool has_expired =
        view.record.expired() && machine_.clock.Now() >= upload.active_time + options_.upload_ttl;
    if (!upload.maybe_cancelled && !has_expired) fail_(absl::StrCat(what_, ": is cancelled"));
    oracle_.uploads.erase(upload.params.request_id);
    return false;
  }
  upload.maybe_cancelled = false;
  oracle_.uploads[upload.params.request_id] = upload;
  std::vector<EntryParams> entries;
  for (const auto& [path, bytes] : upload.content->files)
    entries.push_back({path, bytes.size(), {}});
  Begin(absl::StrCat("add entries ", upload.params.name));
  started = store_->uploads().AddEntries(upload.id, entries);
  if (HasExpired(upload, started.status()) || !Succeeded(started.status(), {Code::kAborted})) {
    return false;
  }
  upload.active_time = now;
  oracle_.uploads[upload.params.request_id] = upload;
  view = *std::move(started);
  return true;
}

bool SimulatedClient::WriteEntry(OpenUpload& upload, UploadWriter& writer, const std::string& path,
                                 uint64_t durable_bytes, bool all) {
  const std::string& bytes = upload.content->files.at(path);
  if (durable_bytes < upload.durable_bytes[path]) {
    fail_(absl::StrCat(upload.params.name, ": ", path, " has ", durable_bytes, " of ",
                       upload.durable_bytes[path], " acknowledged bytes"));
  }
  const uint64_t end = all ? bytes.size() : Below(bytes.size() + 1);
  for (uint64_t offset = durable_bytes; offset < end;) {
    const uint64_t count = std::min<uint64_t>(1 + Below(8000), end - offset);
    const bool is_written =
        Succeeded(writer.Write(path, offset, absl::string_view(bytes).substr(offset, count)));
    if (is_written) offset += count;
    if (is_written && Below(4) > 0 && offset < end) continue;
    const absl::Time now = machine_.clock.Now();
    bool is_synced = Succeeded(writer.Sync().status());
    // As a client does that does not take no for an answer.
    if (!is_synced) is_synced = Succeeded(writer.Sync().status());
    if (!is_synced) return false;
    upload.durable_bytes[path] = std::max(upload.durable_bytes[path], offset);
    upload.active_time = now;
    oracle_.uploads[upload.params.request_id] = upload;
    if (!is_written) return false;
  }
  return true;
}

bool SimulatedClient::Write(OpenUpload& upload, bool all) {
  UploadView view;
  if (!Open(upload, view)) return false;
  Begin(absl::StrCat("write ", upload.params.name));
  absl::StatusOr<std::unique_ptr<UploadWriter>> writer = store_->uploads().OpenWriter(upload.id);
  if (HasExpired(upload, writer.status()) || !Succeeded(writer.status(), {Code::kAborted})) {
    return false;
  }
  for (int i = 0; i < view.record.entries_size(); ++i) {
    const std::string& path = view.record.entries(i).path();
    if (!WriteEntry(upload, **writer, path, view.durable_bytes[i], all)) return false;
  }
  return true;
}

void SimulatedClient::Finish(OpenUpload upload) {
  if (!Write(upload, true)) return;
  oracle_.uploads[upload.params.request_id].maybe_finished = true;
  Begin(absl::StrCat("finish ", upload.params.name));
  const absl::StatusOr<FinishedUpload> finished = store_->uploads().Finish(upload.id, {});
  if (HasExpired(upload, finished.status())) return;
  if (Succeeded(finished.status(), {Code::kAborted, Code::kNotFound, Code::kInvalidArgument})) {
    if (upload.content->is_malformed) fail_(absl::StrCat(what_, ": a malformed one is taken"));
    oracle_.jobs.insert(finished->job_id);
    return oracle_.AddModelOf(upload, finished->model.record.id());
  }
  const bool is_refused = absl::IsInvalidArgument(finished.status());
  if (is_refused && !upload.content->is_malformed) {
    fail_(absl::StrCat(what_, ": ", finished.status().ToString()));
  }
  // Malformed, or a parent was deleted by another client.
  upload.maybe_finished = MayFail();
  if (is_refused || absl::IsNotFound(finished.status())) CancelUpload(std::move(upload));
}

void SimulatedClient::Cancel() {
  const std::vector<OpenUpload> uploads = MyUploads();
  if (uploads.empty()) return Fetch();
  const OpenUpload& upload = uploads[Below(uploads.size())];
  if (!upload.id.empty()) CancelUpload(upload);
}

void SimulatedClient::CancelUpload(OpenUpload upload) {
  upload.maybe_cancelled = true;
  oracle_.uploads[upload.params.request_id] = upload;
  Begin(absl::StrCat("cancel ", upload.params.name));
  const absl::Status cancelled = store_->uploads().Cancel(upload.id);
  if (upload.maybe_finished && ErrorReason(cancelled) == "UPLOAD_ENDED") return;
  if (Succeeded(cancelled, {Code::kAborted})) oracle_.uploads.erase(upload.params.request_id);
}

void SimulatedClient::Delete() {
  const std::vector<LiveModel> models = MyModels();
  if (models.size() < 2) return Fetch();
  const LiveModel& model = models[Below(models.size())];
  oracle_.MarkMaybeDeleted(model.id);
  Begin(absl::StrCat("delete ", model.id));
  const absl::Status status = store_->models().Delete(Reference(model));
  const bool may_be_gone = model.may_expire && absl::IsNotFound(status);
  if (may_be_gone || Succeeded(status, {Code::kAborted})) oracle_.MarkDeleted(model.id);
}

void SimulatedClient::SetTag() {
  const std::vector<LiveModel> models = MyModels();
  if (models.empty()) return Upload();
  const LiveModel& model = models[Below(models.size())];
  const std::string name = absl::StrCat("tags", suffix_);
  const std::string tag = absl::StrCat("t", Below(3));
  const auto [targets, is_new] = oracle_.tags.try_emplace(absl::StrCat(name, "@", tag));
  if (is_new) targets->second.insert("");
  targets->second.insert(model.id);
  if (model.may_expire) targets->second.insert("");
  Begin(absl::StrCat("tag ", tag, " ", model.id));
  const absl::Status status = store_->models().SetTag(name, tag, Reference(model)).status();
  if (model.may_expire && absl::IsNotFound(status) && !MayFail()) return;
  if (!Succeeded(status, {Code::kAborted})) return;
  targets->second = {model.id};
  if (model.may_expire) targets->second.insert("");
}

void SimulatedClient::DeleteTag() {
  const std::string name = absl::StrCat("tags", suffix_);
  const std::string tag = absl::StrCat("t", Below(3));
  const auto known = oracle_.tags.find(absl::StrCat(name, "@", tag));
  if (known == oracle_.tags.end()) return SetTag();
  const bool must_exist = !known->second.contains("");
  known->second.insert("");
  Begin(absl::StrCat("untag ", tag));
  const absl::Status status = store_->models().DeleteTag(name, tag);
  if (must_exist && absl::IsNotFound(status)) fail_(absl::StrCat(name, "@", tag, " is lost"));
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
      store_->models().Update(Reference(model), labels, std::nullopt, 0).status();
  if (model.may_expire && absl::IsNotFound(status)) return;
  if (Succeeded(status, {Code::kAborted})) oracle_.models[model.id].labels = {value};
}

void SimulatedClient::Repack() {
  const std::vector<LiveModel> models = MyModels();
  if (models.empty()) return Upload();
  const LiveModel& model = models[Below(models.size())];
  Begin(absl::StrCat("repack ", model.id));
  const auto effort = Below(2) == 0 ? store::v1::FAST : store::v1::MAX;
  const auto job = store_->models().Repack(Reference(model), effort);
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
  if (models.size() < 2 || models.size() >= kMaxModels) return Upload();
  MergeParams params;
  params.request_id = NewName("merge");
  params.fingerprint = Digest::Of(params.request_id);
  params.name = NewName("merged");
  params.recipe.set_method(store::v1::MergeRecipe::LINEAR);
  for (uint64_t i = 0; i < 2; ++i) {
    std::swap(models[i], models[i + Below(models.size() - i)]);
    params.sources.push_back(Reference(models[i]));
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
  const absl::StatusOr<Model> found = store_->models().Resolve(Reference(model));
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

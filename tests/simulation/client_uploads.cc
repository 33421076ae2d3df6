// Uploads of the simulated clients, from their beginning to their end.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "tests/simulation/client.h"

namespace wdelta::testing {
namespace {

using Code = absl::StatusCode;
using store::v1::UploadRecord;

}  // namespace

ContentPtr SimulatedClient::NewContent(const Content* origin) {
  constexpr size_t kContents = 2;
  if (!options_.repeats_content || Below(4) == 0) return RandomContent(machine_.random, origin);
  std::vector<ContentPtr>& contents = oracle_.first_contents;
  if (contents.size() < kContents) contents.push_back(RandomContent(machine_.random, nullptr));
  return contents[Below(contents.size())];
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
    upload.content = NewContent(nullptr);
  } else {
    const LiveModel& origin = *others[Below(others.size())];
    const LiveModel& other = *others[Below(others.size())];
    upload.content = NewContent(origin.content.get());
    // Of equal contents those without parents are stored alike.
    if (Below(4) > (options_.repeats_content ? 2 : 0))
      params.parents.push_back({origin.Reference(), {}, {}});
    if (Below(4) == 0 && &other != &origin) params.parents.push_back({other.Reference(), {}, {}});
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
  if (MyModels(true).size() >= options_.max_models) return Delete();
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
  if (uploads.empty() || MyModels(true).size() >= options_.max_models) return Fetch();
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

}  // namespace wdelta::testing

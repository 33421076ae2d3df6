#include "tests/soak/soak_worker.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/backoff.h"
#include "client/cpp/push.h"
#include "client/cpp/rpc_status.h"
#include "gtest/gtest.h"
#include "storage/base/status_macros.h"
#include "tests/crash/upload_calls.h"

namespace wdelta::testing {
namespace {

constexpr size_t kMaxModels = 4;
constexpr size_t kMaxUploads = 2;
constexpr absl::Duration kTimeout = absl::Seconds(60);
constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
// How long after a start clients may still find their old connections.
constexpr absl::Duration kReconnectTime = absl::Seconds(10);
// A client that gets no answer for so long has found a fault.
constexpr absl::Duration kMaxCallTime = absl::Minutes(3);

ClientOptions OptionsOfClient() {
  ClientOptions options;
  options.rpc_timeout = kTimeout;
  return options;
}

}  // namespace

SoakWorker::SoakWorker(int number, uint32_t seed, SoakShared* shared)
    : prefix_(absl::StrCat("c", number, "-")),
      shared_(*shared),
      truth_(*shared->truth),
      random_(seed),
      client_(std::make_unique<Client>(shared->daemon->NewChannel(), OptionsOfClient())) {}

void SoakWorker::Run() {
  while (!shared_.is_over) Step();
}

void SoakWorker::Step() {
  if (Random(2) == 0) {
    Change(Random(20));
  } else {
    Read(Random(16));
  }
}

void SoakWorker::Change(uint32_t choice) {
  switch (choice) {
    case 0:
    case 1:
    case 2:
      return Upload(SoakCall::kPush);
    case 3:
      return Upload(SoakCall::kPushLossy);
    case 4:
      return Upload(SoakCall::kPushWrongParent);
    case 5:
      return PushWithoutParent();
    case 6:
    case 7:
      return UploadPart();
    case 8:
    case 9:
      return Resume();
    case 10:
      return Cancel();
    case 11:
    case 12:
      return SetTag();
    case 13:
      return DeleteTag();
    case 14:
      return RepackAndCancel(false);
    case 15:
      return RepackAndCancel(true);
    case 16:
      return CollectGarbage();
    default:
      return Delete();
  }
}

SoakWorker::Outcome SoakWorker::Do(SoakCall call, const Attempt& attempt) {
  Backoff backoff(kFirstPause);
  Outcome outcome;
  const absl::Time first = absl::Now();
  while (true) {
    const absl::Time begin = absl::Now();
    outcome.status = attempt();
    const absl::Time end = absl::Now();
    shared_.tally->Count(call, outcome.status, end - begin);
    if (outcome.ok()) return outcome;
    const bool is_broken =
        absl::IsUnavailable(outcome.status) && shared_.daemon->WasDownSince(begin - kReconnectTime);
    const bool may_repeat = is_broken || IsBusy(outcome.status);
    if (!may_repeat || end - first > kMaxCallTime) break;
    outcome.after_break |= is_broken;
    absl::SleepFor(backoff.Next());
  }
  if (!IsAnnounced(call, outcome.status, outcome.after_break)) {
    ADD_FAILURE() << prefix_ << " " << NameOf(call) << ": not announced: " << outcome.status;
  }
  return outcome;
}

OpenUpload SoakWorker::NewUpload(SoakCall call) {
  OpenUpload upload;
  v1::StartUploadRequest& request = upload.request;
  request.set_request_id(absl::StrCat(prefix_, "request-", ++made_));
  request.set_name(absl::StrCat(prefix_, "m", made_));
  request.set_kind(v1::CHECKPOINT);
  const std::vector<LiveModel> models = truth_.Models();  // of any client
  if (models.empty() || Random(6) == 0) {
    upload.content = RandomContent(random_, nullptr);
  } else {
    const LiveModel& origin = models[Random(models.size())];
    const bool is_wrong = call == SoakCall::kPushWrongParent;
    upload.content = RandomContent(random_, is_wrong ? nullptr : origin.content.get());
    if (call != SoakCall::kPush || Random(3) > 0) {
      request.add_parents()->set_model(absl::StrCat("id:", origin.id));
    }
    if (call == SoakCall::kPushLossy) {
      request.mutable_fidelity()->mutable_near_lossless()->set_relative_error(0.1);
    }
  }
  const std::vector<LiveModel> mine = truth_.ModelsOf(prefix_);
  if (!mine.empty() && Random(4) == 0) {
    request.set_new_version(true);
    request.set_name(mine[Random(mine.size())].name);
  }
  return upload;
}

void SoakWorker::Upload(SoakCall call) {
  if (truth_.ModelsOf(prefix_).size() >= kMaxModels) return Delete();
  if (truth_.UploadsOf(prefix_).size() >= kMaxUploads) return Resume();
  const OpenUpload upload = NewUpload(call);
  truth_.PutUpload(upload);
  Finish(call, upload);
}

void SoakWorker::Resume() {
  const std::vector<OpenUpload> uploads = truth_.UploadsOf(prefix_);
  if (uploads.empty() || truth_.ModelsOf(prefix_).size() >= kMaxModels) return;
  Finish(SoakCall::kResume, uploads[Random(uploads.size())]);
}

// From wherever it is to its model.
void SoakWorker::Finish(SoakCall call, const OpenUpload& upload) {
  PushOptions options = OptionsOfPush(upload.request);
  options.max_reconnects = 20;
  LiveModel model;
  const Outcome outcome = Do(call, [&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(model, PushUpload(*client_, folder_, upload, options));
    return absl::OkStatus();
  });
  if (absl::IsNotFound(outcome.status)) return CancelUpload(upload);  // a parent is gone
  if (!outcome.ok()) return;
  truth_.AddModel(std::move(model));
  truth_.DropUpload(upload.request.request_id());
}

void SoakWorker::PushWithoutParent() {
  v1::StartUploadRequest request;
  request.set_request_id(absl::StrCat(prefix_, "request-", ++made_));
  request.set_name(absl::StrCat(prefix_, "orphan"));
  request.add_parents()->set_model(absl::StrCat(prefix_, "no-such-model"));
  const Outcome outcome = Do(SoakCall::kPushNoParent, [&] {
    v1::Upload upload;
    grpc::ClientContext context;
    SetCallDeadline(context);
    return FromGrpcStatus(client_->uploads().StartUpload(&context, request, &upload));
  });
  EXPECT_FALSE(outcome.ok());
}

void SoakWorker::UploadPart() {
  if (truth_.UploadsOf(prefix_).size() >= kMaxUploads) return Cancel();
  OpenUpload upload = NewUpload(SoakCall::kPush);
  truth_.PutUpload(upload);
  const Outcome outcome = Do(SoakCall::kUploadPart,
                             [&] { return StartAndWritePart(*client_, random_, upload).status(); });
  if (!upload.id.empty()) {
    truth_.PutUpload(upload);
  } else if (absl::IsNotFound(outcome.status)) {
    truth_.DropUpload(upload.request.request_id());
  }
}

void SoakWorker::Cancel() {
  const std::vector<OpenUpload> uploads = truth_.UploadsOf(prefix_);
  if (!uploads.empty()) CancelUpload(uploads[Random(uploads.size())]);
}

void SoakWorker::CancelUpload(OpenUpload upload) {
  const std::string request_id = upload.request.request_id();
  upload.maybe_cancelled = true;
  truth_.PutUpload(upload);
  const Outcome outcome = Do(SoakCall::kCancelUpload, [&]() -> absl::Status {
    if (upload.id.empty()) {
      WDELTA_RETURN_IF_ERROR(StartUpload(*client_, upload));
      truth_.PutUpload(upload);
    }
    return testing::CancelUpload(*client_, upload.id);
  });
  // Not found: never opened, as its parent is gone.
  if (outcome.ok() || absl::IsNotFound(outcome.status)) truth_.DropUpload(request_id);
}

void SoakWorker::Delete() {
  const std::vector<LiveModel> models = truth_.ModelsOf(prefix_);
  if (models.size() < 2) return;
  const std::string& id = models[Random(models.size())].id;
  truth_.MarkMaybeDeleted(id);
  const Outcome outcome =
      Do(SoakCall::kDelete, [&] { return client_->DeleteModel(absl::StrCat("id:", id)); });
  if (outcome.ok() || absl::IsNotFound(outcome.status)) truth_.SettleModel(id, false);
}

void SoakWorker::SetTag() {
  const std::vector<LiveModel> models = truth_.ModelsOf(prefix_);
  if (models.empty()) return;
  const std::string& id = models[Random(models.size())].id;
  const std::string name = absl::StrCat("t", Random(3));
  const std::string tags = absl::StrCat(prefix_, "tags");
  const std::string tag = absl::StrCat(tags, "@", name);
  truth_.AllowTag(tag, id);
  const Outcome outcome = Do(SoakCall::kSetTag, [&] {
    return client_->SetTag(tags, name, absl::StrCat("id:", id)).status();
  });
  if (outcome.ok()) truth_.SettleTag(tag, id);
}

void SoakWorker::DeleteTag() {
  const std::string name = absl::StrCat("t", Random(3));
  const std::string tags = absl::StrCat(prefix_, "tags");
  const std::string tag = absl::StrCat(tags, "@", name);
  const auto before = truth_.Tags();
  const auto known = before.find(tag);
  const bool must_exist = known != before.end() && !known->second.contains("");
  truth_.AllowTag(tag, "");
  const Outcome outcome = Do(SoakCall::kDeleteTag, [&] { return client_->DeleteTag(tags, name); });
  if (must_exist && absl::IsNotFound(outcome.status)) {
    EXPECT_TRUE(outcome.after_break) << tag << " is lost";
  }
  if (outcome.ok() || absl::IsNotFound(outcome.status)) truth_.SettleTag(tag, "");
}

void SoakWorker::RepackAndCancel(bool cancel) {
  const std::vector<LiveModel> models = truth_.ModelsOf(prefix_);
  if (models.empty()) return;
  const std::string& id = models[Random(models.size())].id;
  std::string job;
  const Outcome started = Do(SoakCall::kRepack, [&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(
        job, client_->RepackModel(absl::StrCat("id:", id), v1::FidelityPolicy::FAST));
    return absl::OkStatus();
  });
  if (!started.ok() || !cancel) return;
  Do(SoakCall::kCancelJob, [&] { return client_->CancelJob(job).status(); });
}

void SoakWorker::CollectGarbage() {
  Do(SoakCall::kGc, [&] { return client_->StartGc().status(); });
}

}  // namespace wdelta::testing

#include "tests/crash/crash_worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/rpc_status.h"
#include "gtest/gtest.h"
#include "storage/base/digest.h"
#include "storage/base/status_macros.h"
#include "tests/crash/upload_calls.h"
#include "wdelta/v1/maintenance.grpc.pb.h"

namespace wdelta::testing {
namespace {

constexpr size_t kMaxModels = 7;
constexpr size_t kMaxUploads = 3;

}  // namespace

absl::StatusOr<TestFiles> FetchAll(Client& client, const v1::Model& model) {
  TestFiles files;
  for (const v1::File& file : model.files()) {
    v1::FetchFileRequest request;
    request.set_model(absl::StrCat("id:", model.id()));
    request.set_path(file.path());
    grpc::ClientContext context;
    SetCallDeadline(context);
    const auto reader = client.fetch().FetchFile(&context, request);
    std::string& bytes = files[file.path()];
    v1::FetchFileResponse message;
    while (reader->Read(&message)) bytes += message.piece().data();
    WDELTA_RETURN_IF_ERROR(FromGrpcStatus(reader->Finish()));
  }
  return files;
}

absl::Status CheckContent(Client& client, Truth& truth, const LiveModel& model) {
  WDELTA_ASSIGN_OR_RETURN(const v1::Model found, client.GetModel(absl::StrCat("id:", model.id)));
  EXPECT_NE(found.state(), v1::Model::FAILED) << model.name << ": " << found.error();
  if (model.is_lossy && found.state() != v1::Model::READY) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(const TestFiles files, FetchAll(client, found));
  if (!model.is_lossy) {
    EXPECT_TRUE(files == model.content->files) << model.name << " id:" << model.id;
    return absl::OkStatus();
  }
  std::map<std::string, std::string> sha256;
  for (const auto& [path, bytes] : files) sha256[path] = Digest::Of(bytes).ToHex();
  for (const v1::File& file : found.files()) EXPECT_EQ(sha256[file.path()], file.sha256());
  EXPECT_EQ(files.size(), model.content->files.size());
  EXPECT_TRUE(truth.TakeServed(model.id, sha256)) << model.name << " serves other bytes";
  return absl::OkStatus();
}

CrashWorker::CrashWorker(int number, uint32_t seed, Truth* truth)
    : prefix_(absl::StrCat("w", number, "-")), truth_(*truth), random_(seed) {}

void CrashWorker::Run(std::shared_ptr<grpc::Channel> channel, Life& life) {
  life_ = &life;
  channel_ = channel;
  client_ = std::make_unique<Client>(channel);
  for (int step = 0; step < life.max_steps; ++step) {
    if (life.is_over || life.is_unreachable) break;
    Step();
  }
  client_.reset();
  channel_.reset();
}

void CrashWorker::Step() {
  switch (Random(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
      return Upload();
    case 4:
      return UploadPart();
    case 5:
    case 6:
      return Resume();
    case 7:
      return Cancel();
    case 8:
    case 9:
      return Delete();
    case 10:
    case 11:
      return SetTag();
    case 12:
      return DeleteTag();
    case 13:
      return Repack();
    case 14:
      return CollectGarbage();
    default:
      return FetchOne();
  }
}

bool CrashWorker::Succeeded(const absl::Status& status, const char* call,
                            std::initializer_list<absl::StatusCode> allowed) {
  if (status.ok()) {
    truth_.CountAcknowledged();
    return true;
  }
  if (life_->has_failpoint && absl::IsUnavailable(status)) life_->is_unreachable = true;
  if (life_->is_over || life_->has_failpoint) return false;
  if (std::find(allowed.begin(), allowed.end(), status.code()) != allowed.end()) return false;
  ADD_FAILURE() << call << ": " << status;
  return false;
}

OpenUpload CrashWorker::NewUpload() {
  OpenUpload upload;
  v1::StartUploadRequest& request = upload.request;
  request.set_request_id(absl::StrCat(prefix_, "request-", ++made_));
  request.set_name(absl::StrCat(prefix_, "m", made_));
  request.set_kind(v1::CHECKPOINT);
  const std::vector<LiveModel> models = truth_.Models();  // of any worker
  if (models.empty() || Random(5) == 0) {
    upload.content = RandomContent(random_, nullptr);
  } else {
    const LiveModel& origin = models[Random(models.size())];
    upload.content = RandomContent(random_, origin.content.get());
    if (Random(4) > 0) request.add_parents()->set_model(absl::StrCat("id:", origin.id));
    const LiveModel& other = models[Random(models.size())];
    if (Random(4) == 0 && other.id != origin.id) {
      request.add_parents()->set_model(absl::StrCat("id:", other.id));
    }
    if (request.parents_size() == 1 && Random(4) == 0) {
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

void CrashWorker::Upload() {
  if (truth_.ModelsOf(prefix_).size() >= kMaxModels ||
      truth_.UploadsOf(prefix_).size() >= kMaxUploads)
    return Resume();
  const OpenUpload upload = NewUpload();
  truth_.PutUpload(upload);
  Finish(upload);
}

void CrashWorker::Resume() {
  const std::vector<OpenUpload> uploads = truth_.UploadsOf(prefix_);
  if (uploads.empty() || truth_.ModelsOf(prefix_).size() >= kMaxModels) return;
  Finish(uploads[Random(uploads.size())]);
}

// From wherever it is to its model.
void CrashWorker::Finish(const OpenUpload& upload) {
  PushOptions options = OptionsOfPush(upload.request);
  options.max_reconnects = 0;
  absl::StatusOr<LiveModel> model = PushUpload(*client_, folder_, upload, options);
  using Code = absl::StatusCode;
  // Another worker may have deleted a parent.
  if (!Succeeded(model.status(), "push", {Code::kNotFound, Code::kAborted})) {
    if (absl::IsNotFound(model.status())) CancelUpload(upload);
    return;
  }
  truth_.AddModel(*std::move(model));
  truth_.DropUpload(upload.request.request_id());
}

void CrashWorker::UploadPart() {
  if (truth_.UploadsOf(prefix_).size() >= kMaxUploads) return Cancel();
  OpenUpload upload = NewUpload();
  truth_.PutUpload(upload);
  const absl::StatusOr<uint64_t> durable_bytes = StartAndWritePart(*client_, random_, upload);
  const absl::Status& status = durable_bytes.status();
  if (status.ok()) {
    EXPECT_EQ(*durable_bytes, upload.durable_bytes.begin()->second);
  }
  const bool was_started = !upload.id.empty();
  using Code = absl::StatusCode;
  if (Succeeded(status, "part of an upload", {Code::kNotFound}) || was_started) {
    truth_.PutUpload(upload);
  } else if (absl::IsNotFound(status)) {
    truth_.DropUpload(upload.request.request_id());
  }
}

void CrashWorker::Cancel() {
  const std::vector<OpenUpload> uploads = truth_.UploadsOf(prefix_);
  if (!uploads.empty()) CancelUpload(uploads[Random(uploads.size())]);
}

void CrashWorker::CancelUpload(OpenUpload upload) {
  const std::string request_id = upload.request.request_id();
  if (upload.id.empty()) {
    const absl::Status status = StartUpload(*client_, upload);
    if (!Succeeded(status, "start to cancel", {absl::StatusCode::kNotFound})) {
      if (absl::IsNotFound(status)) truth_.DropUpload(request_id);
      return;
    }
  }
  upload.maybe_cancelled = true;
  truth_.PutUpload(upload);
  const absl::Status status = testing::CancelUpload(*client_, upload.id);
  if (Succeeded(status, "cancel")) truth_.DropUpload(request_id);
}

void CrashWorker::Delete() {
  const std::vector<LiveModel> models = truth_.ModelsOf(prefix_);
  if (models.size() < 3) return;
  const std::string& id = models[Random(models.size())].id;
  truth_.MarkMaybeDeleted(id);
  const absl::Status status = client_->DeleteModel(absl::StrCat("id:", id));
  if (Succeeded(status, "delete", {absl::StatusCode::kAborted})) truth_.SettleModel(id, false);
}

void CrashWorker::SetTag() {
  const std::vector<LiveModel> models = truth_.ModelsOf(prefix_);
  if (models.empty()) return;
  const std::string& id = models[Random(models.size())].id;
  const std::string name = absl::StrCat("t", Random(3));
  const std::string tag = absl::StrCat(prefix_, "tags@", name);
  truth_.AllowTag(tag, id);
  const auto made = client_->SetTag(absl::StrCat(prefix_, "tags"), name, absl::StrCat("id:", id));
  if (Succeeded(made.status(), "tag", {absl::StatusCode::kAborted})) truth_.SettleTag(tag, id);
}

void CrashWorker::DeleteTag() {
  const std::string name = absl::StrCat("t", Random(3));
  const std::string tag = absl::StrCat(prefix_, "tags@", name);
  const auto before = truth_.Tags();
  const auto known = before.find(tag);
  const bool must_exist = known != before.end() && !known->second.contains("");
  truth_.AllowTag(tag, "");
  const absl::Status status = client_->DeleteTag(absl::StrCat(prefix_, "tags"), name);
  using Code = absl::StatusCode;
  EXPECT_FALSE(must_exist && absl::IsNotFound(status)) << tag << " is lost";
  const bool succeeded = Succeeded(status, "untag", {Code::kNotFound, Code::kAborted});
  if (succeeded || absl::IsNotFound(status)) truth_.SettleTag(tag, "");
}

void CrashWorker::Repack() {
  const std::vector<LiveModel> models = truth_.ModelsOf(prefix_);
  if (models.empty()) return;
  const std::string& id = models[Random(models.size())].id;
  const auto job = client_->RepackModel(absl::StrCat("id:", id), v1::FidelityPolicy::FAST);
  using Code = absl::StatusCode;
  Succeeded(job.status(), "repack", {Code::kFailedPrecondition, Code::kAborted});
}

void CrashWorker::CollectGarbage() {
  grpc::ClientContext context;
  SetCallDeadline(context);
  v1::StartGcResponse response;
  const auto stub = v1::Maintenance::NewStub(channel_);
  Succeeded(FromGrpcStatus(stub->StartGc(&context, v1::StartGcRequest(), &response)), "gc",
            {absl::StatusCode::kAborted});
}

void CrashWorker::FetchOne() {
  const std::vector<LiveModel> models = truth_.ModelsOf(prefix_);
  if (models.empty()) return;
  Succeeded(CheckContent(*client_, truth_, models[Random(models.size())]), "fetch");
}

}  // namespace wdelta::testing

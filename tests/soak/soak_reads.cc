// The calls of a soak client that change nothing.
#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "client/cpp/fetch_tensors.h"
#include "client/cpp/pull.h"
#include "client/cpp/rpc_status.h"
#include "gtest/gtest.h"
#include "httplib.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "tests/crash/upload_calls.h"
#include "tests/soak/soak_worker.h"

namespace wdelta::testing {
namespace {

constexpr char kFile[] = "model.safetensors";  // of every model
constexpr size_t kCommitDigits = 40;
constexpr absl::Duration kShortDeadline = absl::Milliseconds(5);
constexpr int kHttpTimeoutSeconds = 60;

std::string IdOf(const LiveModel& model) { return absl::StrCat("id:", model.id); }

// Messages of a stream to its end.
template <typename Response, typename Reader>
absl::Status ReadAll(Reader& reader) {
  Response response;
  while (reader.Read(&response)) {
  }
  return FromGrpcStatus(reader.Finish());
}

absl::Status StatusOf(const httplib::Result& result) {
  if (!result) {
    return absl::UnavailableError(absl::StrCat("http: ", httplib::to_string(result.error())));
  }
  if (result->status == 200 || result->status == 206) return absl::OkStatus();
  const std::string code = result->get_header_value("X-Error-Code");
  const std::string text = absl::StrCat("http: ", result->status, " ", result->body.substr(0, 200));
  const auto status_code = result->status == 404   ? absl::StatusCode::kNotFound
                           : result->status == 503 ? absl::StatusCode::kResourceExhausted
                                                   : absl::StatusCode::kUnknown;
  return MakeError(status_code, code, text);
}

}  // namespace

void SoakWorker::Read(uint32_t choice) {
  switch (choice) {
    case 0:
    case 1:
      return Pull();
    case 2:
      return FetchTensorsOf();
    case 3:
      return FetchRange();
    case 4:
      return GetOverHttp(false);
    case 5:
      return GetOverHttp(true);
    case 6:
      return BreakOffFetch();
    case 7:
      return ExpireFetch();
    case 8:
      return ListModels();
    case 9:
      return Traverse();
    case 10:
      return Diff();
    case 11:
      return Blame();
    case 12:
      return PlanGc();
    case 13:
      return ServerInfo();
    default:
      return GetModel();
  }
}

LiveModel SoakWorker::AnyModel() {
  std::vector<LiveModel> models = truth_.Models();
  return models.empty() ? LiveModel() : std::move(models[Random(models.size())]);
}

LiveModel SoakWorker::AnyExactModel() {
  std::vector<LiveModel> models = truth_.Models();
  std::erase_if(models, [](const LiveModel& model) { return model.is_lossy; });
  return models.empty() ? LiveModel() : std::move(models[Random(models.size())]);
}

void SoakWorker::CheckGone(const absl::Status& status, const LiveModel& model) const {
  if (!absl::IsNotFound(status)) return;
  EXPECT_FALSE(truth_.IsLive(model.id)) << model.name << " id:" << model.id << " is lost";
}

void SoakWorker::Pull() {
  const LiveModel model = AnyExactModel();
  if (model.content == nullptr) return;
  PullOptions options;
  options.jobs = 2;
  options.max_reconnects = 20;
  const std::string folder = folder_ / "pulled";
  const Outcome outcome = Do(
      SoakCall::kPull, [&] { return PullModel(*client_, IdOf(model), folder, options).status(); });
  CheckGone(outcome.status, model);
  if (outcome.ok()) {
    for (const auto& [path, bytes] : model.content->files) {
      EXPECT_TRUE(folder_.Read("pulled/" + path) == bytes) << model.name << " " << path;
    }
  }
  std::filesystem::remove_all(folder);
}

void SoakWorker::FetchTensorsOf() {
  const LiveModel model = AnyExactModel();
  if (model.content == nullptr) return;
  std::map<std::string, std::string> found;
  std::string* bytes = nullptr;
  TensorSink sink;
  sink.on_tensor = [&](const v1::TensorHeader& header) {
    bytes = &found[header.name()];
    return absl::OkStatus();
  };
  sink.on_bytes = [&](absl::string_view piece) {
    absl::StrAppend(bytes, piece);
    return absl::OkStatus();
  };
  const Outcome outcome = Do(SoakCall::kFetchTensors, [&] {
    found.clear();
    return FetchTensors(*client_, IdOf(model), {}, sink);
  });
  CheckGone(outcome.status, model);
  if (!outcome.ok()) return;
  EXPECT_EQ(found.size(), model.content->tensors.size());
  for (const TestTensor& tensor : model.content->tensors) {
    EXPECT_TRUE(found[tensor.name] == tensor.data) << model.name << " " << tensor.name;
  }
}

void SoakWorker::FetchRange() {
  const LiveModel model = AnyExactModel();
  if (model.content == nullptr) return;
  const std::string& bytes = model.content->files.at(kFile);
  v1::FetchFileRequest request;
  request.set_model(IdOf(model));
  request.set_path(kFile);
  request.set_offset(Random(bytes.size()));
  request.set_length(1 + Random(bytes.size()));
  std::string found;
  const Outcome outcome = Do(SoakCall::kFetchRange, [&] {
    found.clear();
    grpc::ClientContext context;
    SetCallDeadline(context);
    const auto reader = client_->fetch().FetchFile(&context, request);
    for (v1::FetchFileResponse part; reader->Read(&part);) found += part.piece().data();
    return FromGrpcStatus(reader->Finish());
  });
  CheckGone(outcome.status, model);
  if (!outcome.ok()) return;
  EXPECT_TRUE(found == bytes.substr(request.offset(), request.length())) << model.name;
}

void SoakWorker::GetOverHttp(bool range) {
  const LiveModel model = AnyExactModel();
  if (model.content == nullptr) return;
  const std::string& bytes = model.content->files.at(kFile);
  std::string digest;
  const Outcome known = Do(SoakCall::kGetModel, [&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const v1::Model found, client_->GetModel(IdOf(model)));
    digest = std::string(absl::StripPrefix(found.digest(), "sha256:"));
    return absl::OkStatus();
  });
  CheckGone(known.status, model);
  if (!known.ok()) return;
  const std::string target =
      absl::StrCat("/", model.name, "/resolve/", digest.substr(0, kCommitDigits), "/", kFile);
  const size_t begin = range ? Random(bytes.size()) : 0;
  const size_t end = range ? begin + Random(bytes.size() - begin) : bytes.size() - 1;
  httplib::Headers headers;
  if (range) headers.emplace("Range", absl::StrCat("bytes=", begin, "-", end));
  std::string found;
  const Outcome outcome = Do(range ? SoakCall::kHttpRange : SoakCall::kHttpFile, [&] {
    httplib::Client hub("http://" + shared_.daemon->http_address());
    hub.set_read_timeout(kHttpTimeoutSeconds);
    const httplib::Result result = hub.Get(target, headers);
    if (result) found = result->body;
    return StatusOf(result);
  });
  CheckGone(outcome.status, model);
  if (!outcome.ok()) return;
  EXPECT_TRUE(found == bytes.substr(begin, end - begin + 1)) << target;
}

void SoakWorker::BreakOffFetch() {
  const LiveModel model = AnyExactModel();
  if (model.content == nullptr) return;
  v1::FetchFileRequest request;
  request.set_model(IdOf(model));
  request.set_path(kFile);
  const Outcome outcome = Do(SoakCall::kCancelledFetch, [&] {
    grpc::ClientContext context;
    SetCallDeadline(context);
    const auto reader = client_->fetch().FetchFile(&context, request);
    v1::FetchFileResponse part;
    if (reader->Read(&part)) context.TryCancel();
    const absl::Status status = ReadAll<v1::FetchFileResponse>(*reader);
    return absl::IsCancelled(status) ? absl::OkStatus() : status;
  });
  CheckGone(outcome.status, model);
}

void SoakWorker::ExpireFetch() {
  const LiveModel model = AnyExactModel();
  if (model.content == nullptr) return;
  v1::FetchTensorsRequest request;
  request.set_model(IdOf(model));
  const Outcome outcome = Do(SoakCall::kExpiredFetch, [&] {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kShortDeadline));
    const auto reader = client_->fetch().FetchTensors(&context, request);
    const absl::Status status = ReadAll<v1::FetchTensorsResponse>(*reader);
    return absl::IsDeadlineExceeded(status) ? absl::OkStatus() : status;
  });
  CheckGone(outcome.status, model);
}

void SoakWorker::GetModel() {
  const LiveModel model = AnyModel();
  if (model.id.empty()) return;
  v1::Model found;
  const Outcome outcome = Do(SoakCall::kGetModel, [&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(found, client_->GetModel(IdOf(model)));
    return absl::OkStatus();
  });
  CheckGone(outcome.status, model);
  if (!outcome.ok()) return;
  EXPECT_EQ(found.name(), model.name);
  EXPECT_NE(found.state(), v1::Model::FAILED) << model.name << ": " << found.error();
}

void SoakWorker::ListModels() {
  Do(SoakCall::kListModels, [&] { return client_->ListModels().All().status(); });
}

void SoakWorker::Traverse() {
  const LiveModel model = AnyModel();
  if (model.id.empty()) return;
  const Outcome outcome = Do(SoakCall::kLineage, [&] {
    return client_->Traverse(IdOf(model), v1::TraverseRequest::BOTH).All().status();
  });
  CheckGone(outcome.status, model);
}

void SoakWorker::Diff() {
  v1::DiffRequest request;
  request.set_model_a(IdOf(AnyModel()));
  request.set_model_b(IdOf(AnyModel()));
  if (request.model_b().size() <= 3 || request.model_a().size() <= 3) return;
  Do(SoakCall::kDiff, [&] {
    grpc::ClientContext context;
    SetCallDeadline(context);
    return ReadAll<v1::DiffResponse>(*client_->compare().Diff(&context, request));
  });
}

void SoakWorker::Blame() {
  const LiveModel model = AnyModel();
  if (model.id.empty()) return;
  v1::BlameRequest request;
  request.set_model(IdOf(model));
  const Outcome outcome = Do(SoakCall::kBlame, [&] {
    grpc::ClientContext context;
    SetCallDeadline(context);
    return ReadAll<v1::BlameResponse>(*client_->compare().Blame(&context, request));
  });
  CheckGone(outcome.status, model);
}

void SoakWorker::PlanGc() {
  Do(SoakCall::kPlanGc, [&] {
    grpc::ClientContext context;
    SetCallDeadline(context);
    return ReadAll<v1::PlanGcResponse>(*client_->maintenance().PlanGc(&context, {}));
  });
}

void SoakWorker::ServerInfo() {
  Do(SoakCall::kServerInfo, [&] { return client_->GetServerInfo().status(); });
}

}  // namespace wdelta::testing

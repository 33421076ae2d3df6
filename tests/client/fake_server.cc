#include "tests/client/fake_server.h"

#include <algorithm>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/rpc/error_info.pb.h"
#include "grpc/grpc.h"
#include "grpcpp/server_builder.h"
#include "storage/base/checksum.h"
#include "storage/base/digest.h"

namespace wdelta {
namespace {

constexpr char kUploadId[] = "upload-1";

// `Response` is that of files or that of tensors; `Writer` writes it.
template <typename Response, typename Writer>
void SendPieces(const std::string& content, const Faults& faults, Writer& writer,
                uint64_t begin = 0, uint64_t end = std::numeric_limits<uint64_t>::max()) {
  std::string sent = content;
  if (faults.bad_content) sent[sent.size() / 2] ^= 1;
  constexpr uint64_t kSize = FakeServer::kServedPieceBytes;
  for (uint64_t offset = begin; offset < sent.size(); offset += kSize) {
    if (offset >= end) return;
    const bool is_second = offset == kSize;
    if (is_second && faults.gap) continue;
    Response response;
    v1::Piece& piece = *response.mutable_piece();
    piece.set_offset(offset);
    piece.set_data(sent.substr(offset, kSize));
    piece.set_crc32c(Crc32c(piece.data()) ^ (is_second && faults.bad_crc ? 1 : 0));
    writer.Write(response);
  }
  if (faults.no_trailer) return;
  Response response;
  response.mutable_trailer()->set_sent_bytes(content.size() - begin);
  if (begin == 0) response.mutable_trailer()->set_sha256(Digest::Of(content).ToHex());
  writer.Write(response);
  if (faults.more_after_trailer) writer.Write(response);
}

// Counts `breaks` down to zero.
bool TakeBreak(int& breaks) {
  if (breaks == 0) return false;
  --breaks;
  return true;
}

grpc::Status Broken() { return {grpc::StatusCode::UNAVAILABLE, "broken by the test"}; }

grpc::Status DeletedModel(const std::string& model) {
  return NotFoundWithInfo("MODEL_NOT_FOUND", absl::StrCat("no model '", model, "'"));
}

// Writes so many messages and drops what comes after; negative: all.
class BreakingWriter {
 public:
  BreakingWriter(grpc::ServerWriter<v1::FetchTensorsResponse>* writer, int messages)
      : writer_(*writer), left_(messages) {}
  void Write(const v1::FetchTensorsResponse& message) {
    if (left_ == 0) return;
    if (left_ > 0) --left_;
    writer_.Write(message);
  }

 private:
  grpc::ServerWriter<v1::FetchTensorsResponse>& writer_;
  int left_;
};

}  // namespace

grpc::Status ErrorWithInfo(grpc::StatusCode code, const std::string& reason,
                           const std::string& message) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("wdelta");
  info.mutable_metadata()->insert({"subject", "x"});
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  status.add_details()->PackFrom(info);
  return grpc::Status(code, message, status.SerializeAsString());
}

grpc::Status NotFoundWithInfo(const std::string& reason, const std::string& message) {
  return ErrorWithInfo(grpc::StatusCode::NOT_FOUND, reason, message);
}

FakeServer::FakeServer() {
  // Keeps gRPC from being shut down between two tests, for which it waits up to ten seconds
  // now and then.
  [[maybe_unused]] static const bool keeps_grpc = (grpc_init(), true);
  address_ = absl::StrCat("unix:", socket_folder_ / "socket");
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
  builder.RegisterService(static_cast<v1::Uploads::Service*>(this));
  builder.RegisterService(static_cast<v1::Fetch::Service*>(this));
  builder.RegisterService(static_cast<v1::Models::Service*>(this));
  builder.RegisterService(static_cast<v1::Jobs::Service*>(this));
  builder.RegisterService(static_cast<v1::Admin::Service*>(this));
  server_ = builder.BuildAndStart();
}

FakeServer::~FakeServer() { Stop(); }

void FakeServer::Stop() {
  if (server_ == nullptr) return;
  server_->Shutdown();
  server_->Wait();
  server_.reset();
}

std::unique_ptr<Client> FakeServer::NewClient(const ClientOptions& options) {
  return *Client::Create(address_, options);
}

void FakeServer::AddModel(const std::string& name, std::map<std::string, std::string> files) {
  absl::MutexLock lock(&mutex_);
  models_[name] = std::move(files);
}

void FakeServer::DescribeUpload(v1::Upload& upload) {
  upload.set_id(kUploadId);
  upload.set_state(v1::Upload::OPEN);
  for (const auto& [path, size_bytes] : entry_sizes_) {
    v1::Entry& entry = *upload.add_entries();
    entry.set_path(path);
    entry.set_size_bytes(size_bytes);
    entry.set_durable_bytes(uploaded[path].size());
  }
}

grpc::Status FakeServer::StartUpload(grpc::ServerContext*, const v1::StartUploadRequest* request,
                                     v1::Upload* response) {
  absl::MutexLock lock(&mutex_);
  ++start_calls;
  start_request = *request;
  DescribeUpload(*response);
  return grpc::Status::OK;
}

grpc::Status FakeServer::AddEntries(grpc::ServerContext*, const v1::AddEntriesRequest* request,
                                    v1::Upload* response) {
  absl::MutexLock lock(&mutex_);
  for (const v1::Entry& entry : request->entries()) {
    entry_sizes_[entry.path()] = entry.size_bytes();
  }
  DescribeUpload(*response);
  return grpc::Status::OK;
}

grpc::Status FakeServer::WriteEntries(grpc::ServerContext*,
                                      grpc::ServerReader<v1::WriteEntriesRequest>* reader,
                                      v1::WriteEntriesResponse* response) {
  absl::MutexLock lock(&mutex_);
  ++write_streams;
  v1::WriteEntriesRequest piece;
  std::string path;
  for (int pieces = 0; reader->Read(&piece); ++pieces) {
    if (faults.breaks > 0 && pieces == faults.break_after_pieces) {
      --faults.breaks;
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken by the test");
    }
    if (pieces == 0 && piece.upload() != kUploadId) {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such upload");
    }
    if (!piece.path().empty()) path = piece.path();
    std::string& content = uploaded[path];
    if (piece.data().size() > kMaxPieceBytes || !entry_sizes_.contains(path)) {
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "piece too large or unknown path");
    }
    if (piece.offset() != content.size()) {
      return grpc::Status(grpc::StatusCode::OUT_OF_RANGE,
                          absl::StrCat("expected offset ", content.size()));
    }
    if (piece.has_copy()) {
      const auto known = contents.find(piece.copy().sha256());
      if (faults.forgets_content || known == contents.end()) {
        return NotFoundWithInfo("CONTENT_NOT_FOUND", "gone");
      }
      content += known->second;
      continue;
    }
    if (piece.crc32c() != Crc32c(piece.data())) {
      return grpc::Status(grpc::StatusCode::DATA_LOSS, "crc32c differs");
    }
    content += piece.data();
    received_bytes += piece.data().size();
  }
  response->set_durable_bytes(received_bytes);
  return grpc::Status::OK;
}

grpc::Status FakeServer::FindContent(grpc::ServerContext*, const v1::FindContentRequest* request,
                                     v1::FindContentResponse* response) {
  absl::MutexLock lock(&mutex_);
  asked_contents += request->contents_size();
  for (int i = 0; i < request->contents_size(); ++i) {
    if (contents.contains(request->contents(i).sha256())) response->add_found(i);
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::GetUpload(grpc::ServerContext*, const v1::GetUploadRequest*,
                                   v1::Upload* response) {
  absl::MutexLock lock(&mutex_);
  DescribeUpload(*response);
  return grpc::Status::OK;
}

grpc::Status FakeServer::FinishUpload(grpc::ServerContext*, const v1::FinishUploadRequest* request,
                                      v1::FinishUploadResponse* response) {
  absl::MutexLock lock(&mutex_);
  if (TakeBreak(faults.finish_breaks)) return Broken();
  for (const auto& [path, size_bytes] : entry_sizes_) {
    const auto sha256 = request->sha256_by_path().find(path);
    if (uploaded[path].size() != size_bytes) {
      return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, absl::StrCat(path, " incomplete"));
    }
    if (sha256 == request->sha256_by_path().end() ||
        sha256->second != Digest::Of(uploaded[path]).ToHex()) {
      return grpc::Status(grpc::StatusCode::DATA_LOSS, absl::StrCat(path, ": SHA-256 differs"));
    }
  }
  models_[start_request.name()] = uploaded;
  *response->mutable_model() = DescribeModel(start_request.name());
  response->set_job("job-1");
  return grpc::Status::OK;
}

grpc::Status FakeServer::CancelUpload(grpc::ServerContext*, const v1::CancelUploadRequest*,
                                      google::protobuf::Empty*) {
  absl::MutexLock lock(&mutex_);
  ++cancel_calls;
  return grpc::Status::OK;
}

v1::Model FakeServer::DescribeModel(const std::string& name) {
  v1::Model model;
  model.set_id(name);
  model.set_name(name);
  for (const auto& [path, content] : models_[name]) {
    v1::File& file = *model.add_files();
    file.set_path(path);
    file.set_size_bytes(content.size());
    file.set_sha256(Digest::Of(content).ToHex());
  }
  return model;
}

grpc::Status FakeServer::GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                                  v1::Model* response) {
  absl::MutexLock lock(&mutex_);
  if (TakeBreak(faults.model_breaks)) return Broken();
  const std::string name(absl::StripPrefix(request->model(), "id:"));
  if (!models_.contains(name))
    return NotFoundWithInfo("MODEL_NOT_FOUND", absl::StrCat("no model ", name));
  *response = DescribeModel(name);
  return grpc::Status::OK;
}

grpc::Status FakeServer::ListModels(grpc::ServerContext*, const v1::ListModelsRequest* request,
                                    v1::ListModelsResponse* response) {
  absl::MutexLock lock(&mutex_);
  ++list_calls;
  const size_t page_size = request->page_size() == 0 ? 2 : request->page_size();
  for (const auto& [name, files] : models_) {
    if (name <= request->page_token()) continue;
    if (static_cast<size_t>(response->models_size()) == page_size) {
      response->set_next_page_token(response->models(response->models_size() - 1).name());
      break;
    }
    response->add_models()->set_name(name);
  }
  if (faults.same_page_token) response->set_next_page_token("again");
  return grpc::Status::OK;
}

grpc::Status FakeServer::FetchFile(grpc::ServerContext*, const v1::FetchFileRequest* request,
                                   grpc::ServerWriter<v1::FetchFileResponse>* writer) {
  std::string content;
  Faults met;
  bool breaks = false;
  {
    // Not while it sends: several files may be fetched at once.
    absl::MutexLock lock(&mutex_);
    const bool may_refuse = faults.refused_path.empty() || faults.refused_path == request->path();
    if (faults.fetches_refused > 0 && may_refuse) {
      --faults.fetches_refused;
      return ErrorWithInfo(grpc::StatusCode::RESOURCE_EXHAUSTED, "TOO_MANY_FETCHES", "too many");
    }
    if (faults.is_deleted) return DeletedModel(request->model());
    content = models_[std::string(absl::StripPrefix(request->model(), "id:"))][request->path()];
    fetch_offsets.push_back(request->offset());
    const auto enough = [this] { return fetch_offsets.size() >= faults.fetches_at_once; };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(20))) {
      waited_in_vain = true;
      faults.fetches_at_once = 0;
    }
    breaks = faults.fetch_breaks > 0 && !content.empty();
    if (breaks) --faults.fetch_breaks;
    met = faults;
  }
  v1::FetchFileResponse response;
  response.mutable_header()->set_path(request->path());
  response.mutable_header()->set_size_bytes(content.size());
  response.mutable_header()->set_offset(request->offset());
  response.mutable_header()->set_length(content.size() - request->offset());
  writer->Write(response);
  if (!breaks) {
    SendPieces<v1::FetchFileResponse>(content, met, *writer, request->offset());
    return grpc::Status::OK;
  }
  const uint64_t end = request->offset() + met.fetch_break_after_pieces * kServedPieceBytes;
  SendPieces<v1::FetchFileResponse>(content, met, *writer, request->offset(), end);
  return grpc::Status(met.fetch_break_code, "broken by the test");
}

grpc::Status FakeServer::ListTensors(grpc::ServerContext*, const v1::ListTensorsRequest* request,
                                     v1::ListTensorsResponse* response) {
  absl::MutexLock lock(&mutex_);
  // Every file is served as one tensor.
  for (const auto& [path, content] :
       models_[std::string(absl::StripPrefix(request->model(), "id:"))]) {
    v1::Tensor& tensor = *response->add_tensors();
    tensor.set_name(path);
    tensor.set_file("model.safetensors");
    tensor.set_dtype("U8");
    tensor.add_shape(content.size());
    tensor.set_size_bytes(content.size());
  }
  return grpc::Status::OK;
}

grpc::Status FakeServer::FetchTensors(grpc::ServerContext*, const v1::FetchTensorsRequest* request,
                                      grpc::ServerWriter<v1::FetchTensorsResponse>* writer) {
  absl::MutexLock lock(&mutex_);
  tensor_requests.push_back(*request);
  if (faults.fetches_refused > 0) {
    --faults.fetches_refused;
    return ErrorWithInfo(grpc::StatusCode::RESOURCE_EXHAUSTED, "TOO_MANY_FETCHES", "too many");
  }
  if (faults.is_deleted) return DeletedModel(request->model());
  const bool breaks = faults.tensor_breaks > 0;
  if (breaks) --faults.tensor_breaks;
  BreakingWriter breaking(writer, breaks ? faults.tensor_break_after_messages : -1);
  uint64_t index = 0;
  uint64_t offset = request->first_tensor_offset();
  for (const auto& [path, content] :
       models_[std::string(absl::StripPrefix(request->model(), "id:"))]) {
    if (index++ < request->first_tensor()) continue;
    v1::FetchTensorsResponse response;
    v1::TensorHeader& header = *response.mutable_header();
    header.set_name(faults.other_tensor_on_resume && offset > 0 ? "other" : path);
    header.set_dtype("U8");
    header.add_shape(content.size());
    header.set_size_bytes(content.size());
    header.set_offset(offset);
    header.set_length(content.size() - offset);
    breaking.Write(response);
    SendPieces<v1::FetchTensorsResponse>(content, faults, breaking, offset);
    offset = 0;
  }
  if (breaks) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken by the test");
  return grpc::Status::OK;
}

grpc::Status FakeServer::WatchJob(grpc::ServerContext*, const v1::WatchJobRequest* request,
                                  grpc::ServerWriter<v1::Job>* writer) {
  absl::MutexLock lock(&mutex_);
  v1::Job job;
  job.set_id(request->job());
  job.set_state(v1::Job::RUNNING);
  writer->Write(job);
  job.set_state(job_state);
  job.set_error(job_state == v1::Job::FAILED ? "tensor a: shape" : "");
  writer->Write(job);
  return grpc::Status::OK;
}

grpc::Status FakeServer::GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                                       v1::ServerInfo* response) {
  absl::MutexLock lock(&mutex_);
  if (TakeBreak(faults.info_breaks)) return Broken();
  response->mutable_limits()->set_max_piece_bytes(kMaxPieceBytes);
  return grpc::Status::OK;
}

}  // namespace wdelta

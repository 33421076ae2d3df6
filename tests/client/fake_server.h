// An in-process daemon for the client's tests: keeps what is uploaded in memory,
// serves it back, and goes wrong where it is told to.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "client/cpp/client.h"
#include "grpcpp/server.h"
#include "tests/support/temp_folder.h"

namespace wdelta {

// Set before the calls that they shall meet.
struct Faults {
  // WriteEntries breaks with UNAVAILABLE after this many pieces, this many times.
  int break_after_pieces = 0;
  int breaks = 0;
  // These break with UNAVAILABLE so many times.
  int info_breaks = 0;
  int model_breaks = 0;
  int finish_breaks = 0;
  // FetchFile likewise, of files that it sends.
  int fetch_break_after_pieces = 0;
  int fetch_breaks = 0;
  grpc::StatusCode fetch_break_code = grpc::StatusCode::UNAVAILABLE;
  // FetchTensors breaks with UNAVAILABLE after this many messages, this many times.
  int tensor_break_after_messages = 0;
  int tensor_breaks = 0;
  bool other_tensor_on_resume = false;
  // FetchFile and FetchTensors answer RESOURCE_EXHAUSTED (TOO_MANY_FETCHES) so many times.
  int fetches_refused = 0;
  std::string refused_path;  // FetchFile: of this file only; empty: of any
  // FetchFile and FetchTensors answer NOT_FOUND (MODEL_NOT_FOUND), as of a model that was deleted.
  bool is_deleted = false;
  // The first FetchFile calls answer once so many have begun.
  size_t fetches_at_once = 0;
  bool bad_crc = false;      // on the second piece of a file
  bool bad_content = false;  // one bit flipped, its piece's crc fits
  bool no_trailer = false;   // the stream ends, with OK, before it
  bool gap = false;          // the second piece is left out
  bool more_after_trailer = false;
  bool same_page_token = false;  // for ever
  bool forgets_content = false;  // says that it has some, and then not
};

// Any thread may call it. Pieces served are kServedPieceBytes long.
class FakeServer final : public v1::Uploads::Service,
                         public v1::Fetch::Service,
                         public v1::Models::Service,
                         public v1::Jobs::Service,
                         public v1::Admin::Service {
 public:
  static constexpr uint64_t kServedPieceBytes = 100;
  static constexpr uint64_t kMaxPieceBytes = 64;

  FakeServer();
  ~FakeServer() override;

  std::unique_ptr<Client> NewClient(const ClientOptions& options = {});
  // A model that is there from the start.
  void AddModel(const std::string& name, std::map<std::string, std::string> files);
  // For good, once the calls that run have ended. Not from within one.
  void Stop();

  Faults faults;
  // What the client did.
  int start_calls = 0;
  int write_streams = 0;
  int cancel_calls = 0;
  int list_calls = 0;
  std::vector<uint64_t> fetch_offsets;
  std::vector<v1::FetchTensorsRequest> tensor_requests;
  bool waited_in_vain = false;  // for fetches_at_once
  // While calls run.
  size_t FetchCount() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return fetch_offsets.size();
  }
  uint64_t received_bytes = 0;
  uint64_t asked_contents = 0;
  // What it has beside the upload, by SHA-256.
  std::map<std::string, std::string> contents;
  v1::StartUploadRequest start_request;
  v1::Job::State job_state = v1::Job::SUCCEEDED;
  // Contents of the upload, by path.
  std::map<std::string, std::string> uploaded;

 private:
  grpc::Status StartUpload(grpc::ServerContext*, const v1::StartUploadRequest* request,
                           v1::Upload* response) override;
  grpc::Status AddEntries(grpc::ServerContext*, const v1::AddEntriesRequest* request,
                          v1::Upload* response) override;
  grpc::Status WriteEntries(grpc::ServerContext*,
                            grpc::ServerReader<v1::WriteEntriesRequest>* reader,
                            v1::WriteEntriesResponse* response) override;
  grpc::Status FindContent(grpc::ServerContext*, const v1::FindContentRequest* request,
                           v1::FindContentResponse* response) override;
  grpc::Status GetUpload(grpc::ServerContext*, const v1::GetUploadRequest*,
                         v1::Upload* response) override;
  grpc::Status FinishUpload(grpc::ServerContext*, const v1::FinishUploadRequest* request,
                            v1::FinishUploadResponse* response) override;
  grpc::Status CancelUpload(grpc::ServerContext*, const v1::CancelUploadRequest*,
                            google::protobuf::Empty*) override;
  grpc::Status FetchFile(grpc::ServerContext*, const v1::FetchFileRequest* request,
                         grpc::ServerWriter<v1::FetchFileResponse>* writer) override;
  grpc::Status FetchTensors(grpc::ServerContext*, const v1::FetchTensorsRequest* request,
                            grpc::ServerWriter<v1::FetchTensorsResponse>* writer) override;
  grpc::Status ListTensors(grpc::ServerContext*, const v1::ListTensorsRequest* request,
                           v1::ListTensorsResponse* response) override;
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest* request,
                        v1::Model* response) override;
  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override;
  grpc::Status WatchJob(grpc::ServerContext*, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::Job>* writer) override;
  grpc::Status GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest*,
                             v1::ServerInfo* response) override;

  v1::Model DescribeModel(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DescribeUpload(v1::Upload& upload) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Mutex mutex_;
  std::map<std::string, std::map<std::string, std::string>> models_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint64_t> entry_sizes_ ABSL_GUARDED_BY(mutex_);
  const TempFolder socket_folder_;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

// An error with google.rpc.ErrorInfo, as a daemon sends it.
grpc::Status ErrorWithInfo(grpc::StatusCode code, const std::string& reason,
                           const std::string& message);
grpc::Status NotFoundWithInfo(const std::string& reason, const std::string& message);

}  // namespace wdelta

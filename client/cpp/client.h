// A connection to a wdelta daemon: models, tags, lineage, jobs, server info.
//
// Thin calls, each with a deadline. Errors are the server's own, with reason and
// details (storage/base/error.h). Whole checkpoints travel through push.h, pull.h
// and fetch_tensors.h, which borrow a Client.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/interrupt.h"
#include "client/cpp/pager.h"
#include "client/cpp/progress.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "wdelta/v1/admin.grpc.pb.h"
#include "wdelta/v1/compare.grpc.pb.h"
#include "wdelta/v1/fetch.grpc.pb.h"
#include "wdelta/v1/jobs.grpc.pb.h"
#include "wdelta/v1/lineage.grpc.pb.h"
#include "wdelta/v1/maintenance.grpc.pb.h"
#include "wdelta/v1/merge.grpc.pb.h"
#include "wdelta/v1/models.grpc.pb.h"
#include "wdelta/v1/uploads.grpc.pb.h"

namespace wdelta {

// In PEM.
struct TlsOptions {
  std::string ca_certificates;  // empty: the connection is not encrypted
  std::string certificate;      // own, where the server asks for one; empty: none
  std::string key;              // of it
};

struct ClientOptions {
  // Of a call that is not a stream.
  absl::Duration rpc_timeout = absl::Seconds(30);
  uint32_t page_size = 0;  // 0: the server's default
  // Of Create: sent with every call, encrypted or not; empty: none.
  std::string token;
  // Of Create; not for Unix sockets.
  TlsOptions tls;
};

// Any number of threads may call one client. A Pager borrows its client.
class Client {
 public:
  // `address`: `host:port` or `unix:/path`. Connects with the first call.
  static absl::StatusOr<std::unique_ptr<Client>> Create(const std::string& address,
                                                        const ClientOptions& options = {});
  explicit Client(std::shared_ptr<grpc::Channel> channel, const ClientOptions& options = {});

  absl::StatusOr<v1::Model> GetModel(const std::string& model);
  // A model that can be fetched: of a bare name the newest of its versions that can.
  absl::StatusOr<v1::Model> GetModelToFetch(const std::string& model);
  // Filters as documented in models.proto.
  Pager<v1::Model> ListModels(const v1::ListModelsRequest& filters = {});
  Pager<v1::Tensor> ListTensors(const std::string& model);
  // `request` as documented in models.proto.
  absl::StatusOr<v1::Model> UpdateModel(const v1::UpdateModelRequest& request);
  // `author` here and below: who asks, for the history of tags; empty: the address that the
  // server sees.
  absl::Status DeleteModel(const std::string& model, const std::string& author = "");
  absl::StatusOr<v1::StorageExplanation> ExplainStorage(const std::string& model);
  // Id of the job.
  absl::StatusOr<std::string> RepackModel(const std::string& model,
                                          v1::FidelityPolicy::Effort effort);

  // `request` as documented in merge.proto.
  absl::StatusOr<v1::MergeModelsResponse> MergeModels(const v1::MergeModelsRequest& request);

  absl::StatusOr<v1::Tag> SetTag(const std::string& name, const std::string& tag,
                                 const std::string& model, const std::string& author = "");
  absl::Status DeleteTag(const std::string& name, const std::string& tag,
                         const std::string& author = "");
  Pager<v1::Tag> ListTags(const std::string& name = "");
  // The latest change first.
  Pager<v1::TagChange> ListTagHistory(const std::string& name, const std::string& tag);

  // `max_depth` 0: no limit.
  Pager<v1::LineageNode> Traverse(const std::string& model,
                                  v1::TraverseRequest::Direction direction, uint32_t max_depth = 0);
  Pager<v1::LineageNode> ListRoots();
  Pager<v1::LineageNode> ListLeaves();
  Pager<v1::LineageNode> ListChildren(const std::string& model);
  // `request` as documented in lineage.proto.
  Pager<v1::PathStep> FindPath(const v1::FindPathRequest& request);
  Pager<v1::CommonAncestor> CommonAncestors(const std::vector<std::string>& models);

  absl::StatusOr<v1::Job> GetJob(const std::string& job);
  // The newest first; empty: in any state.
  Pager<v1::Job> ListJobs(const std::vector<v1::Job::State>& states = {});
  absl::StatusOr<v1::Job> CancelJob(const std::string& job);
  // Calls `on_change` (may be empty), on this thread, with the job as it is and at
  // every change; returns it once it has ended, however it ended. Survives a few
  // broken streams, and tells `on_stall` if the server is away. CANCELLED when interrupted;
  // `interrupt` may be null.
  absl::StatusOr<v1::Job> WatchJob(const std::string& job,
                                   const std::function<void(const v1::Job&)>& on_change = {},
                                   Interrupt* interrupt = nullptr,
                                   const StallCallback& on_stall = {});

  // Id of the job.
  absl::StatusOr<std::string> StartGc();
  absl::StatusOr<std::string> StartScrub(bool repair);
  absl::StatusOr<v1::RetentionRule> SetRetentionRule(const v1::RetentionRule& rule);
  Pager<v1::RetentionRule> ListRetentionRules();
  absl::Status DeleteRetentionRule(const std::string& name);

  absl::StatusOr<v1::ServerInfo> GetServerInfo();

  // Until there is a connection (true), `timeout` is over, or it is interrupted. Calls that fail at
  // once without one do not wait, and one that breaks is made anew only while somebody does.
  bool AwaitConnection(absl::Duration timeout, const Interrupt& interrupt);

  // For streams and uploads.
  v1::Models::Stub& models() { return *models_; }
  v1::Uploads::Stub& uploads() { return *uploads_; }
  v1::Fetch::Stub& fetch() { return *fetch_; }
  v1::Compare::Stub& compare() { return *compare_; }
  v1::Maintenance::Stub& maintenance() { return *maintenance_; }
  v1::Admin::Stub& admin() { return *admin_; }
  const ClientOptions& options() const { return options_; }

 private:
  const std::shared_ptr<grpc::Channel> channel_;
  const ClientOptions options_;
  const std::unique_ptr<v1::Models::Stub> models_;
  const std::unique_ptr<v1::Uploads::Stub> uploads_;
  const std::unique_ptr<v1::Fetch::Stub> fetch_;
  const std::unique_ptr<v1::Lineage::Stub> lineage_;
  const std::unique_ptr<v1::Jobs::Stub> jobs_;
  const std::unique_ptr<v1::Admin::Stub> admin_;
  const std::unique_ptr<v1::Compare::Stub> compare_;
  const std::unique_ptr<v1::Maintenance::Stub> maintenance_;
  const std::unique_ptr<v1::Merge::Stub> merge_;
};

// OK for a job that succeeded; FAILED_PRECONDITION, reason `JOB_FAILED` or
// `JOB_CANCELLED`, otherwise.
absl::Status JobResult(const v1::Job& job);

}  // namespace wdelta

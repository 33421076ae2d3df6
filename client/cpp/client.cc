#include "client/cpp/client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/bearer_token.h"
#include "client/cpp/rpc_status.h"
#include "client/cpp/stall_report.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

// A model or an upload lists all its files in one message.
constexpr int kMaxReceiveBytes = 16 * limits::kMiB;
constexpr int kMaxWatchRetries = 5;
// An interrupt is seen so soon while a connection is awaited.
constexpr absl::Duration kInterruptCheck = absl::Milliseconds(50);
// A watch that is without a connection for longer says so.
constexpr absl::Duration kSilentReconnect = absl::Seconds(1);
// A peer that vanished without a word is noticed after both together. The daemon takes pings
// every ten seconds.
constexpr int kKeepaliveMs = 30'000;
constexpr int kKeepaliveTimeoutMs = 20'000;

template <typename Response, typename Stub, typename Request>
absl::StatusOr<Response> Call(const ClientOptions& options, Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + options.rpc_timeout));
  Response response;
  WDELTA_RETURN_IF_ERROR(FromGrpcStatus((stub.*method)(&context, request, &response)));
  return response;
}

// `field` is the response's list.
template <typename Item, typename Response, typename Stub, typename Request>
Pager<Item> MakePager(const ClientOptions& options, Stub& stub,
                      grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                      Request request,
                      google::protobuf::RepeatedPtrField<Item>* (Response::*field)()) {
  request.set_page_size(options.page_size);
  return Pager<Item>(
      [&options, &stub, method, request = std::move(request),
       field](const std::string& token) mutable -> absl::StatusOr<typename Pager<Item>::Page> {
        request.set_page_token(token);
        WDELTA_ASSIGN_OR_RETURN(Response response, Call(options, stub, method, request));
        typename Pager<Item>::Page page;
        page.next_page_token = response.next_page_token();
        auto* items = (response.*field)();
        page.items.assign(std::make_move_iterator(items->begin()),
                          std::make_move_iterator(items->end()));
        return page;
      });
}

bool HasEnded(const v1::Job& job) {
  return job.state() == v1::Job::SUCCEEDED || job.state() == v1::Job::FAILED ||
         job.state() == v1::Job::CANCELLED;
}

bool Advanced(const v1::Job& before, const v1::Job& after) {
  return before.state() != after.state() || before.attempts() != after.attempts() ||
         before.done_bytes() != after.done_bytes();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Create(const std::string& address,
                                                       const ClientOptions& options) {
  const bool is_unix = absl::StartsWith(address, "unix:");
  if (is_unix ? address.size() == 5 : !absl::StrContains(address, ':')) {
    return absl::InvalidArgumentError(
        absl::StrCat("server address `", address, "`: expected `host:port` or `unix:/path`"));
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  // Or a call that only waits, a watch of a job, say, would not be looked after for long.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!is_unix && !options.tls.ca_certificates.empty()) {
    credentials = grpc::SslCredentials(
        {options.tls.ca_certificates, options.tls.key, options.tls.certificate});
  }
  if (options.token.empty()) {
    return std::make_unique<Client>(grpc::CreateCustomChannel(address, credentials, arguments),
                                    options);
  }
  return std::make_unique<Client>(
      grpc::experimental::CreateCustomChannelWithInterceptors(
          address, credentials, arguments, BearerTokenInterceptors(options.token)),
      options);
}

Client::Client(std::shared_ptr<grpc::Channel> channel, const ClientOptions& options)
    : channel_(std::move(channel)),
      options_(options),
      models_(v1::Models::NewStub(channel_)),
      uploads_(v1::Uploads::NewStub(channel_)),
      fetch_(v1::Fetch::NewStub(channel_)),
      lineage_(v1::Lineage::NewStub(channel_)),
      jobs_(v1::Jobs::NewStub(channel_)),
      admin_(v1::Admin::NewStub(channel_)),
      compare_(v1::Compare::NewStub(channel_)),
      maintenance_(v1::Maintenance::NewStub(channel_)),
      merge_(v1::Merge::NewStub(channel_)) {}

absl::StatusOr<v1::Model> Client::GetModel(const std::string& model) {
  v1::GetModelRequest request;
  request.set_model(model);
  return Call(options_, *models_, &v1::Models::Stub::GetModel, request);
}

absl::StatusOr<v1::Model> Client::GetModelToFetch(const std::string& model) {
  v1::GetModelRequest request;
  request.set_model(model);
  request.set_can_be_fetched(true);
  return Call(options_, *models_, &v1::Models::Stub::GetModel, request);
}

Pager<v1::Model> Client::ListModels(const v1::ListModelsRequest& filters) {
  return MakePager(options_, *models_, &v1::Models::Stub::ListModels, filters,
                   &v1::ListModelsResponse::mutable_models);
}

Pager<v1::Tensor> Client::ListTensors(const std::string& model) {
  v1::ListTensorsRequest request;
  request.set_model(model);
  return MakePager(options_, *models_, &v1::Models::Stub::ListTensors, std::move(request),
                   &v1::ListTensorsResponse::mutable_tensors);
}

absl::StatusOr<v1::Model> Client::UpdateModel(const v1::UpdateModelRequest& request) {
  return Call(options_, *models_, &v1::Models::Stub::UpdateModel, request);
}

absl::Status Client::DeleteModel(const std::string& model, const std::string& author) {
  v1::DeleteModelRequest request;
  request.set_model(model);
  request.set_author(author);
  return Call(options_, *models_, &v1::Models::Stub::DeleteModel, request).status();
}

absl::StatusOr<v1::StorageExplanation> Client::ExplainStorage(const std::string& model) {
  v1::ExplainStorageRequest request;
  request.set_model(model);
  return Call(options_, *models_, &v1::Models::Stub::ExplainStorage, request);
}

absl::StatusOr<std::string> Client::RepackModel(const std::string& model,
                                                v1::FidelityPolicy::Effort effort) {
  v1::RepackModelRequest request;
  request.set_model(model);
  request.set_effort(effort);
  WDELTA_ASSIGN_OR_RETURN(const v1::RepackModelResponse response,
                          Call(options_, *models_, &v1::Models::Stub::RepackModel, request));
  return response.job();
}

absl::StatusOr<v1::MergeModelsResponse> Client::MergeModels(const v1::MergeModelsRequest& request) {
  return Call(options_, *merge_, &v1::Merge::Stub::MergeModels, request);
}

absl::StatusOr<v1::Tag> Client::SetTag(const std::string& name, const std::string& tag,
                                       const std::string& model, const std::string& author) {
  v1::SetTagRequest request;
  request.set_name(name);
  request.set_tag(tag);
  request.set_model(model);
  request.set_author(author);
  return Call(options_, *models_, &v1::Models::Stub::SetTag, request);
}

absl::Status Client::DeleteTag(const std::string& name, const std::string& tag,
                               const std::string& author) {
  v1::DeleteTagRequest request;
  request.set_name(name);
  request.set_tag(tag);
  request.set_author(author);
  return Call(options_, *models_, &v1::Models::Stub::DeleteTag, request).status();
}

Pager<v1::Tag> Client::ListTags(const std::string& name) {
  v1::ListTagsRequest request;
  request.set_name(name);
  return MakePager(options_, *models_, &v1::Models::Stub::ListTags, std::move(request),
                   &v1::ListTagsResponse::mutable_tags);
}

Pager<v1::TagChange> Client::ListTagHistory(const std::string& name, const std::string& tag) {
  v1::ListTagHistoryRequest request;
  request.set_name(name);
  request.set_tag(tag);
  return MakePager(options_, *models_, &v1::Models::Stub::ListTagHistory, std::move(request),
                   &v1::ListTagHistoryResponse::mutable_changes);
}

Pager<v1::LineageNode> Client::Traverse(const std::string& model,
                                        v1::TraverseRequest::Direction direction,
                                        uint32_t max_depth) {
  v1::TraverseRequest request;
  request.set_model(model);
  request.set_direction(direction);
  request.set_max_depth(max_depth);
  return MakePager(options_, *lineage_, &v1::Lineage::Stub::Traverse, std::move(request),
                   &v1::TraverseResponse::mutable_nodes);
}

Pager<v1::LineageNode> Client::ListRoots() {
  return MakePager(options_, *lineage_, &v1::Lineage::Stub::ListRoots, v1::ListRootsRequest(),
                   &v1::ListRootsResponse::mutable_nodes);
}

Pager<v1::LineageNode> Client::ListLeaves() {
  return MakePager(options_, *lineage_, &v1::Lineage::Stub::ListLeaves, v1::ListLeavesRequest(),
                   &v1::ListLeavesResponse::mutable_nodes);
}

Pager<v1::LineageNode> Client::ListChildren(const std::string& model) {
  v1::ListChildrenRequest request;
  request.set_model(model);
  return MakePager(options_, *lineage_, &v1::Lineage::Stub::ListChildren, std::move(request),
                   &v1::ListChildrenResponse::mutable_nodes);
}

Pager<v1::PathStep> Client::FindPath(const v1::FindPathRequest& request) {
  return MakePager(options_, *lineage_, &v1::Lineage::Stub::FindPath, request,
                   &v1::FindPathResponse::mutable_steps);
}

Pager<v1::CommonAncestor> Client::CommonAncestors(const std::vector<std::string>& models) {
  v1::CommonAncestorsRequest request;
  for (const std::string& model : models) request.add_models(model);
  return MakePager(options_, *lineage_, &v1::Lineage::Stub::CommonAncestors, std::move(request),
                   &v1::CommonAncestorsResponse::mutable_ancestors);
}

absl::StatusOr<v1::Job> Client::GetJob(const std::string& job) {
  v1::GetJobRequest request;
  request.set_job(job);
  return Call(options_, *jobs_, &v1::Jobs::Stub::GetJob, request);
}

Pager<v1::Job> Client::ListJobs(const std::vector<v1::Job::State>& states) {
  v1::ListJobsRequest request;
  for (const v1::Job::State state : states) request.add_states(state);
  return MakePager(options_, *jobs_, &v1::Jobs::Stub::ListJobs, std::move(request),
                   &v1::ListJobsResponse::mutable_jobs);
}

absl::StatusOr<v1::Job> Client::CancelJob(const std::string& job) {
  v1::CancelJobRequest request;
  request.set_job(job);
  return Call(options_, *jobs_, &v1::Jobs::Stub::CancelJob, request);
}

absl::StatusOr<v1::Job> Client::WatchJob(const std::string& job,
                                         const std::function<void(const v1::Job&)>& on_change,
                                         Interrupt* interrupt, const StallCallback& on_stall) {
  StallReport stalls(on_stall);
  StallReport::Transfer stall(stalls);
  const Interrupt never;
  const Interrupt& seen_interrupt = interrupt != nullptr ? *interrupt : never;
  const auto await_server = [&] {
    const absl::Time deadline = absl::Now() + options_.rpc_timeout;
    const absl::Duration silence = std::min(options_.rpc_timeout, kSilentReconnect);
    if (AwaitConnection(silence, seen_interrupt)) return true;
    if (seen_interrupt.IsTriggered()) return false;
    stall.Stalled(absl::UnavailableError("the server does not answer"));
    return AwaitConnection(deadline - absl::Now(), seen_interrupt);
  };
  v1::WatchJobRequest request;
  request.set_job(job);
  v1::Job last;
  for (int retries = 0;; ++retries) {
    // Waits for the daemon to come back, for as long as a call may take.
    if (retries > 0 && !await_server()) {
      if (seen_interrupt.IsTriggered()) return absl::CancelledError("interrupted");
      return absl::UnavailableError(absl::StrCat("job ", job, ": the server does not come back"));
    }
    grpc::ClientContext context;
    const Interrupt::Scope scope(interrupt, &context);
    const auto reader = jobs_->WatchJob(&context, request);
    for (v1::Job seen; reader->Read(&seen); last = seen) {
      stall.GoesOn();
      if (on_change) on_change(seen);
      // A stream that only repeats what is known has brought nothing.
      if (Advanced(last, seen)) retries = 0;
    }
    const absl::Status status = FromGrpcStatus(reader->Finish());
    if (HasEnded(last)) return last;
    if (absl::IsPermissionDenied(status)) {
      return Annotate(status, absl::StrCat("job ", job, " goes on unwatched"));
    }
    if (!status.ok() && !absl::IsUnavailable(status)) return status;
    if (retries == kMaxWatchRetries) {
      return status.ok() ? absl::UnavailableError(
                               absl::StrCat("job ", job, ": the server stopped telling its state"))
                         : status;
    }
  }
}

absl::StatusOr<std::string> Client::StartGc() {
  WDELTA_ASSIGN_OR_RETURN(
      const v1::StartGcResponse response,
      Call(options_, *maintenance_, &v1::Maintenance::Stub::StartGc, v1::StartGcRequest()));
  return response.job();
}

absl::StatusOr<std::string> Client::StartScrub(bool repair) {
  v1::StartScrubRequest request;
  request.set_repair(repair);
  WDELTA_ASSIGN_OR_RETURN(
      const v1::StartScrubResponse response,
      Call(options_, *maintenance_, &v1::Maintenance::Stub::StartScrub, request));
  return response.job();
}

absl::StatusOr<v1::RetentionRule> Client::SetRetentionRule(const v1::RetentionRule& rule) {
  v1::SetRetentionRuleRequest request;
  *request.mutable_rule() = rule;
  return Call(options_, *maintenance_, &v1::Maintenance::Stub::SetRetentionRule, request);
}

Pager<v1::RetentionRule> Client::ListRetentionRules() {
  return MakePager<v1::RetentionRule>(
      options_, *maintenance_, &v1::Maintenance::Stub::ListRetentionRules,
      v1::ListRetentionRulesRequest(), &v1::ListRetentionRulesResponse::mutable_rules);
}

absl::Status Client::DeleteRetentionRule(const std::string& name) {
  v1::DeleteRetentionRuleRequest request;
  request.set_name(name);
  return Call(options_, *maintenance_, &v1::Maintenance::Stub::DeleteRetentionRule, request)
      .status();
}

bool Client::AwaitConnection(absl::Duration timeout, const Interrupt& interrupt) {
  const absl::Time deadline = absl::Now() + timeout;
  for (absl::Time now = absl::Now(); now < deadline && !interrupt.IsTriggered();
       now = absl::Now()) {
    const absl::Time until = std::min(deadline, now + kInterruptCheck);
    if (channel_->WaitForConnected(absl::ToChronoTime(until))) return true;
  }
  return false;
}

absl::StatusOr<v1::ServerInfo> Client::GetServerInfo() {
  return Call(options_, *admin_, &v1::Admin::Stub::GetServerInfo, v1::GetServerInfoRequest());
}

absl::Status JobResult(const v1::Job& job) {
  if (job.state() == v1::Job::SUCCEEDED) return absl::OkStatus();
  const bool cancelled = job.state() == v1::Job::CANCELLED;
  return MakeError(
      absl::StatusCode::kFailedPrecondition, cancelled ? "JOB_CANCELLED" : "JOB_FAILED",
      absl::StrCat("job ", job.id(),
                   cancelled ? " was cancelled" : " failed: ", cancelled ? "" : job.error()),
      {{"job", job.id()}});
}

}  // namespace wdelta

#include "server/rpc/jobs_service.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/rpc/convert.h"
#include "server/rpc/job_watch_reactor.h"
#include "server/rpc/own_page.h"
#include "server/rpc/page_token.h"
#include "server/rpc/unary.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

// Records read for one page before it is returned short.
constexpr uint32_t kMaxScannedPerPage = 10'000;

bool Matches(const v1::ListJobsRequest& request, const store::v1::JobRecord& job) {
  return request.states().empty() ||
         std::find(request.states().begin(), request.states().end(),
                   static_cast<int>(job.state())) != request.states().end();
}

absl::Status CheckStates(const v1::ListJobsRequest& request) {
  for (const int state : request.states()) {
    if (state == v1::Job::STATE_UNSPECIFIED || !v1::Job::State_IsValid(state)) {
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_STATE",
                       absl::StrCat("states: expected states of a job, found ", state));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Page<Job>> ListMatching(JobQueue& queue, const v1::ListJobsRequest& request,
                                       std::string after, uint32_t page_size) {
  Page<Job> page;
  uint32_t scanned = 0;
  bool more = true;
  while (more && page.items.size() < page_size && scanned < kMaxScannedPerPage) {
    // Never more than still fit, so that none read has to be given back.
    const uint32_t room = page_size - static_cast<uint32_t>(page.items.size());
    WDELTA_ASSIGN_OR_RETURN(std::vector<Job> jobs, queue.List(after, room, &more));
    if (jobs.empty()) break;
    scanned += static_cast<uint32_t>(jobs.size());
    after = jobs.back().record.id();
    for (Job& job : jobs) {
      if (Matches(request, job.record)) page.items.push_back(std::move(job));
    }
  }
  if (more) page.next = after;
  return page;
}

absl::Status ListJobsBody(JobQueue& queue, const v1::ListJobsRequest& request,
                          v1::ListJobsResponse* response, const NameCheck& check_name) {
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string after, DecodePageToken(filters, request.page_token()));
  WDELTA_RETURN_IF_ERROR(CheckStates(request));
  WDELTA_ASSIGN_OR_RETURN(const Page<Job> page,
                          OwnPage(
                              check_name, after, EffectivePageSize(request.page_size()),
                              [&](const std::string& from, uint32_t limit) {
                                return ListMatching(queue, request, from, limit);
                              },
                              [](const Job& job) { return job.record.model_name(); },
                              [](const Job& job) { return job.record.id(); }));
  for (const Job& job : page.items) {
    v1::Job& listed = *response->add_jobs();
    listed = ToProto(job.record);
    listed.clear_gc_report();
    listed.clear_scrub_report();
  }
  response->set_next_page_token(EncodePageToken(filters, page.next));
  return absl::OkStatus();
}

}  // namespace

grpc::ServerUnaryReactor* JobsService::GetJob(grpc::CallbackServerContext* context,
                                              const v1::GetJobRequest* request, v1::Job* response) {
  return ServeUnary(environment_, "Jobs.GetJob", context, request, response,
                    [this](const auto& in, auto* out) -> absl::Status {
                      WDELTA_ASSIGN_OR_RETURN(const Job job,
                                              environment_.store().jobs().Get(in.job()));
                      *out = ToProto(job.record);
                      return absl::OkStatus();
                    });
}

grpc::ServerUnaryReactor* JobsService::ListJobs(grpc::CallbackServerContext* context,
                                                const v1::ListJobsRequest* request,
                                                v1::ListJobsResponse* response) {
  return ServeUnary(environment_, "Jobs.ListJobs", context, request, response,
                    [this](const auto& in, auto* out, const RpcCall& call) {
                      return ListJobsBody(environment_.store().jobs(), in, out, call.name_check());
                    });
}

grpc::ServerWriteReactor<v1::Job>* JobsService::WatchJob(grpc::CallbackServerContext* context,
                                                         const v1::WatchJobRequest* request) {
  return StartJobWatchReactor(&environment_, context, request);
}

grpc::ServerUnaryReactor* JobsService::CancelJob(grpc::CallbackServerContext* context,
                                                 const v1::CancelJobRequest* request,
                                                 v1::Job* response) {
  return ServeUnary(environment_, "Jobs.CancelJob", context, request, response,
                    [this](const auto& in, auto* out) -> absl::Status {
                      WDELTA_ASSIGN_OR_RETURN(const Job job,
                                              environment_.store().jobs().RequestCancel(in.job()));
                      *out = ToProto(job.record);
                      return absl::OkStatus();
                    });
}

}  // namespace wdelta

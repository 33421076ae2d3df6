#include "server/rpc/maintenance_service.h"

#include <algorithm>
#include <string>
#include <utility>

#include "server/rpc/blocking_stream.h"
#include "server/rpc/convert.h"
#include "server/rpc/page_token.h"
#include "server/rpc/unary.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using store::v1::RetentionRuleRecord;
using Stream = BlockingStream<v1::PlanGcResponse>;

class PlanGcCall {
 public:
  PlanGcCall(Maintenance* maintenance, Stream* stream)
      : maintenance_(*maintenance), stream_(*stream) {}

  absl::Status Run() {
    GcPlanSink sink;
    sink.deletion = [this](const ExpiredModel& expired) { return SendDeletion(expired); };
    sink.freed = [this](const std::string& id, const std::string& name, uint64_t bytes) {
      return SendFreed(id, name, bytes);
    };
    sink.rewrite = [this](const RewriteEstimate& rewrite) { return SendRewrite(rewrite); };
    sink.kept = [this](const std::string& id, const std::string& name, const GcUnit& unit) {
      return SendKept(id, name, unit);
    };
    sink.alive = [this] { return stream_.CheckAlive(); };
    WDELTA_ASSIGN_OR_RETURN(const GcPlanTotals totals, maintenance_.PlanGc(sink));
    return SendTotals(totals);
  }

 private:
  absl::Status SendDeletion(const ExpiredModel& expired) {
    v1::PlanGcResponse response;
    v1::PlannedDeletion& out = *response.mutable_deletion();
    out.set_model(IdReference(expired.model_id));
    out.set_name(expired.name);
    out.set_rule(expired.rule);
    out.set_run(expired.run);
    out.set_position(expired.position);
    out.set_stored_bytes(expired.stored_bytes);
    return stream_.Send(std::move(response));
  }

  absl::Status SendFreed(const std::string& id, const std::string& name, uint64_t bytes) {
    v1::PlanGcResponse response;
    response.mutable_freed()->set_model(IdReference(id));
    response.mutable_freed()->set_name(name);
    response.mutable_freed()->set_bytes(bytes);
    return stream_.Send(std::move(response));
  }

  absl::Status SendRewrite(const RewriteEstimate& rewrite) {
    v1::PlanGcResponse response;
    v1::PlannedRewrite& out = *response.mutable_rewrite();
    out.set_model(IdReference(rewrite.model_id));
    out.set_name(rewrite.name);
    out.set_stored_bytes(rewrite.stored_bytes);
    out.set_estimated_bytes(rewrite.estimated_bytes);
    if (!rewrite.storage_parent_id.empty()) {
      out.set_storage_parent(IdReference(rewrite.storage_parent_id));
      out.set_storage_parent_name(rewrite.storage_parent_name);
    }
    return stream_.Send(std::move(response));
  }

  absl::Status SendKept(const std::string& id, const std::string& name, const GcUnit& unit) {
    v1::PlanGcResponse response;
    v1::KeptModel& out = *response.mutable_kept();
    out.set_model(IdReference(id));
    out.set_name(name);
    out.set_bytes(unit.freed_bytes);
    out.set_dependents(unit.dependents.size());
    out.set_least_cost_bytes(static_cast<uint64_t>(std::max<int64_t>(0, unit.growth_bytes)));
    out.set_problem(unit.problem);
    return stream_.Send(std::move(response));
  }

  absl::Status SendTotals(const GcPlanTotals& totals) {
    v1::PlanGcResponse response;
    v1::PlanGcTotals& out = *response.mutable_totals();
    out.set_models_deleted(totals.models_deleted);
    out.set_models_rewritten(totals.models_rewritten);
    out.set_models_freed(totals.models_freed);
    out.set_models_kept(totals.models_kept);
    out.set_freed_bytes(totals.freed_bytes);
    out.set_growth_bytes(totals.growth_bytes);
    out.set_orphan_blobs(totals.swept.orphan_blobs);
    out.set_orphan_claims(totals.swept.orphan_claims);
    out.set_orphan_uploads(totals.swept.orphan_uploads);
    out.set_old_records(totals.swept.old_records);
    return stream_.Send(std::move(response));
  }

  Maintenance& maintenance_;
  Stream& stream_;
};

v1::RetentionRule ToProto(const RetentionRuleRecord& rule) {
  v1::RetentionRule out;
  out.set_name(rule.name());
  out.set_name_pattern(rule.name_pattern());
  out.set_run_label(rule.run_label());
  out.set_keep_last(rule.keep_last());
  out.set_keep_every(rule.keep_every());
  out.set_delete_tagged(rule.delete_tagged());
  SetTime(rule.update_time_us(), out.mutable_update_time());
  return out;
}

RetentionRuleRecord FromProto(const v1::RetentionRule& rule) {
  RetentionRuleRecord out;
  out.set_name(rule.name());
  out.set_name_pattern(rule.name_pattern());
  out.set_run_label(rule.run_label());
  out.set_keep_last(rule.keep_last());
  out.set_keep_every(rule.keep_every());
  out.set_delete_tagged(rule.delete_tagged());
  return out;
}

absl::Status ListRules(RetentionRules& rules, const v1::ListRetentionRulesRequest& request,
                       v1::ListRetentionRulesResponse* response) {
  const std::string filters = FiltersOf(request);
  WDELTA_ASSIGN_OR_RETURN(const std::string after, DecodePageToken(filters, request.page_token()));
  WDELTA_ASSIGN_OR_RETURN(const Page<RetentionRuleRecord> page,
                          rules.List(after, EffectivePageSize(request.page_size())));
  for (const RetentionRuleRecord& rule : page.items) *response->add_rules() = ToProto(rule);
  response->set_next_page_token(EncodePageToken(filters, page.next));
  return absl::OkStatus();
}

}  // namespace

grpc::ServerWriteReactor<v1::PlanGcResponse>* MaintenanceService::PlanGc(
    grpc::CallbackServerContext* context, const v1::PlanGcRequest* request) {
  return new Stream(&environment_, "Maintenance.PlanGc", context, request, [this](Stream& stream) {
    return PlanGcCall(&environment_.store().maintenance(), &stream).Run();
  });
}

grpc::ServerUnaryReactor* MaintenanceService::StartGc(grpc::CallbackServerContext* context,
                                                      const v1::StartGcRequest* request,
                                                      v1::StartGcResponse* response) {
  return ServeUnary(environment_, "Maintenance.StartGc", context, request, response,
                    [this](const auto&, auto* out) -> absl::Status {
                      WDELTA_ASSIGN_OR_RETURN(const std::string job,
                                              environment_.store().maintenance().StartGc());
                      out->set_job(job);
                      return absl::OkStatus();
                    });
}

grpc::ServerUnaryReactor* MaintenanceService::StartScrub(grpc::CallbackServerContext* context,
                                                         const v1::StartScrubRequest* request,
                                                         v1::StartScrubResponse* response) {
  return ServeUnary(environment_, "Maintenance.StartScrub", context, request, response,
                    [this](const auto& in, auto* out) -> absl::Status {
                      WDELTA_ASSIGN_OR_RETURN(
                          const std::string job,
                          environment_.store().maintenance().StartScrub(in.repair()));
                      out->set_job(job);
                      return absl::OkStatus();
                    });
}

grpc::ServerUnaryReactor* MaintenanceService::SetRetentionRule(
    grpc::CallbackServerContext* context, const v1::SetRetentionRuleRequest* request,
    v1::RetentionRule* response) {
  return ServeUnary(environment_, "Maintenance.SetRetentionRule", context, request, response,
                    [this](const auto& in, auto* out) -> absl::Status {
                      WDELTA_ASSIGN_OR_RETURN(
                          const RetentionRuleRecord rule,
                          environment_.store().maintenance().rules().Set(FromProto(in.rule())));
                      *out = ToProto(rule);
                      return absl::OkStatus();
                    });
}

grpc::ServerUnaryReactor* MaintenanceService::ListRetentionRules(
    grpc::CallbackServerContext* context, const v1::ListRetentionRulesRequest* request,
    v1::ListRetentionRulesResponse* response) {
  return ServeUnary(environment_, "Maintenance.ListRetentionRules", context, request, response,
                    [this](const auto& in, auto* out) {
                      return ListRules(environment_.store().maintenance().rules(), in, out);
                    });
}

grpc::ServerUnaryReactor* MaintenanceService::DeleteRetentionRule(
    grpc::CallbackServerContext* context, const v1::DeleteRetentionRuleRequest* request,
    google::protobuf::Empty* response) {
  return ServeUnary(environment_, "Maintenance.DeleteRetentionRule", context, request, response,
                    [this](const auto& in, auto*) {
                      return environment_.store().maintenance().rules().Delete(in.name());
                    });
}

}  // namespace wdelta

#include "server/rpc/merge_service.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/convert.h"
#include "server/rpc/page_token.h"
#include "server/rpc/unary.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/engine/records/merge_recipe.h"

namespace wdelta {
namespace {

using store::v1::MergeRecipe;

template <typename Method>
double ScaleOf(const Method& method) {
  return method.has_lambda_scale() ? method.lambda_scale() : kDefaultMergeScale;
}

absl::Status SetMethod(const v1::MergeModelsRequest& request, MergeRecipe& recipe) {
  switch (request.method_case()) {
    case v1::MergeModelsRequest::kLinear:
      recipe.set_method(MergeRecipe::LINEAR);
      return absl::OkStatus();
    case v1::MergeModelsRequest::kTaskArithmetic:
      recipe.set_method(MergeRecipe::TASK_ARITHMETIC);
      recipe.set_scale(ScaleOf(request.task_arithmetic()));
      return absl::OkStatus();
    case v1::MergeModelsRequest::kTies:
      recipe.set_method(MergeRecipe::TIES);
      recipe.set_scale(ScaleOf(request.ties()));
      recipe.set_density(request.ties().has_density() ? request.ties().density()
                                                      : kDefaultMergeDensity);
      return absl::OkStatus();
    default:
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_METHOD",
                       "method: expected linear, task_arithmetic or ties, found none");
  }
}

absl::Status MergeModelsBody(Merges& merges, const v1::MergeModelsRequest& request,
                             v1::MergeModelsResponse* response) {
  WDELTA_ASSIGN_OR_RETURN(const MergeParams params, FromProto(request));
  WDELTA_ASSIGN_OR_RETURN(const StartedMerge started, merges.Start(params));
  *response->mutable_model() = ToProto(started.model, FileList::kOmit);
  response->set_job(started.job_id);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<MergeParams> FromProto(const v1::MergeModelsRequest& request) {
  MergeParams params;
  params.request_id = request.request_id();
  params.name = request.name();
  params.base = request.base();
  WDELTA_RETURN_IF_ERROR(SetMethod(request, params.recipe));
  for (const v1::MergeModelsRequest::Source& source : request.sources()) {
    params.sources.push_back(source.model());
    params.recipe.add_sources()->set_weight(source.has_weight() ? source.weight()
                                                                : kDefaultMergeWeight);
  }
  params.labels = ToStringMap(request.labels());
  params.metadata = ToStringMap(request.metadata());
  params.new_version = request.new_version();
  v1::MergeModelsRequest anonymous = request;
  anonymous.clear_request_id();
  // With its type: an upload must not look the same.
  params.fingerprint =
      Digest::Of(absl::StrCat(request.GetTypeName(), "\n", DeterministicBytes(anonymous)));
  return params;
}

grpc::ServerUnaryReactor* MergeService::MergeModels(grpc::CallbackServerContext* context,
                                                    const v1::MergeModelsRequest* request,
                                                    v1::MergeModelsResponse* response) {
  return ServeUnary(environment_, "Merge.MergeModels", context, request, response,
                    [this](const auto& in, auto* out) {
                      return MergeModelsBody(environment_.store().merges(), in, out);
                    });
}

}  // namespace wdelta

#include "server/rpc/rpc_call.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/auth/audit_log.h"
#include "server/auth/authenticator.h"
#include "server/rpc/call_subjects.h"
#include "server/rpc/convert.h"
#include "server/rpc/status_map.h"
#include "storage/base/error.h"
#include "storage/base/id.h"
#include "storage/base/status_macros.h"
#include "storage/engine/records/names.h"

namespace wdelta {
namespace {

// A call with several would be told apart differently by those on its way.
std::string AuthorizationOf(const grpc::CallbackServerContext& context) {
  const auto [begin, end] = context.client_metadata().equal_range("authorization");
  if (begin == end) return "";
  if (std::next(begin) != end) return "several";
  return std::string(begin->second.data(), begin->second.size());
}

}  // namespace

RpcCall::RpcCall(RpcEnvironment* environment, std::string_view method,
                 grpc::CallbackServerContext* context)
    : environment_(*environment),
      method_(method),
      rule_(FindMethodRule({method.data(), method.size()})),
      log_(environment, method, context),
      access_(Admit(*context)) {}

absl::Status RpcCall::Admit(const grpc::CallbackServerContext& context) {
  const Authenticator* const authenticator = environment_.options().authenticator;
  if (authenticator == nullptr) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(identity_, authenticator->Authenticate(AuthorizationOf(context)));
  const std::string method(method_);
  if (rule_ == nullptr) {
    return MakeError(absl::StatusCode::kPermissionDenied, "METHOD_WITHOUT_RULE",
                     absl::StrCat(method, ": nobody may call it"));
  }
  WDELTA_RETURN_IF_ERROR(CheckScope(*identity_, rule_->scope, method));
  return rule_->needs_all_names ? CheckUnlimited(*identity_, method) : absl::OkStatus();
}

absl::Status RpcCall::CheckRequest(const google::protobuf::Message& request) {
  if (rule_ == nullptr || !(IsLimited() || rule_->IsAudited())) return absl::OkStatus();
  std::vector<std::pair<SubjectKind, std::string>> named;
  for (const Subject& subject : rule_->subjects) {
    if (subject.path.empty()) continue;
    for (std::string& value : StringsAt(request, subject.path)) {
      if (value.empty()) continue;
      if (rule_->IsAudited()) subjects_.push_back(value);
      named.emplace_back(subject.kind, std::move(value));
    }
  }
  if (!IsLimited()) return absl::OkStatus();
  for (const auto& [kind, value] : named) WDELTA_RETURN_IF_ERROR(CheckSubject(kind, value));
  return absl::OkStatus();
}

absl::Status RpcCall::CheckSubject(SubjectKind kind, const std::string& value) const {
  switch (kind) {
    case SubjectKind::kNone:
      return absl::OkStatus();
    case SubjectKind::kName:
      return CheckName(*identity_, value);
    case SubjectKind::kModel:
      return CheckModel(value);
    case SubjectKind::kWrittenModel:
      return CheckWrittenName(value);
    case SubjectKind::kModelId:
      return CheckModel(IsWellFormedId(value) ? IdReference(value) : value);
    case SubjectKind::kUpload:
      return CheckUpload(value);
    case SubjectKind::kJob:
      return CheckJob(value);
  }
  return absl::OkStatus();
}

// Not looked up, so that a stranger does not learn whether there is one.
absl::Status RpcCall::CheckWrittenName(const std::string& reference) const {
  const absl::StatusOr<ModelReference> parsed = ParseModelReference(reference);
  return parsed.ok() && !parsed->name.empty() ? CheckName(*identity_, parsed->name)
                                              : absl::OkStatus();
}

absl::Status RpcCall::CheckModel(const std::string& reference) const {
  WDELTA_RETURN_IF_ERROR(CheckWrittenName(reference));
  const absl::StatusOr<ModelReference> parsed = ParseModelReference(reference);
  if (!parsed.ok() || parsed->kind == ModelReference::Kind::kName) return absl::OkStatus();
  const absl::StatusOr<Model> model = environment_.store().models().Resolve(reference);
  // A tag may point at a model of another name.
  return model.ok() ? CheckFound(name_check(), reference, model->record.name()) : absl::OkStatus();
}

absl::Status RpcCall::CheckUpload(const std::string& id) const {
  const absl::StatusOr<UploadView> upload = environment_.store().uploads().Get(id);
  const bool is_hidden = upload.ok() && !identity_->MayName(upload->record.name());
  return is_hidden ? UploadNotFound(id) : absl::OkStatus();
}

absl::Status RpcCall::CheckJob(const std::string& id) const {
  const absl::StatusOr<Job> job = environment_.store().jobs().Get(id);
  const bool is_hidden = job.ok() && !identity_->MayName(job->record.model_name());
  return is_hidden ? JobNotFound(id) : absl::OkStatus();
}

absl::Status RpcCall::CheckResponse(google::protobuf::Message& response) {
  if (rule_ == nullptr) return absl::OkStatus();
  if (rule_->IsAudited() && !rule_->told.empty()) {
    for (std::string& value : StringsAt(response, rule_->told)) {
      subjects_.push_back(std::move(value));
    }
  }
  const Listed& listed = rule_->listed;
  if (!IsLimited() || listed.list.empty()) return absl::OkStatus();
  const int left_out =
      KeepItems(response, listed.list, listed.name, [&](absl::string_view model_name) {
        return identity_->MayName(model_name) || (listed.is_whole && model_name.empty());
      });
  if (left_out == 0 || !listed.is_whole) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kPermissionDenied, "NAME_NOT_ALLOWED",
      absl::StrCat("the answer tells of models that token '", identity_->name, "' is not for"));
}

NameCheck RpcCall::name_check() const {
  if (!IsLimited()) return nullptr;
  return [identity = identity_](absl::string_view name) { return CheckName(*identity, name); };
}

void RpcCall::Done(const absl::Status& status) {
  log_.Done(status);
  if (rule_ == nullptr || !rule_->IsAudited()) return;
  const std::string result = status.ok() ? "OK" : WireReason(status);
  LogAudit(*environment_.log(), {identity_.get(),
                                 log_.peer(),
                                 {method_.data(), method_.size()},
                                 std::move(subjects_),
                                 result,
                                 log_.request_id()});
}

}  // namespace wdelta

// One rpc from its first byte to its end: who makes it, whether they may, and what is logged
// of it. Every rpc of every service has one, and asks it before it does anything.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "grpcpp/server_context.h"
#include "server/auth/identity.h"
#include "server/auth/method_rules.h"
#include "server/rpc/rpc_environment.h"
#include "server/rpc/rpc_log.h"
#include "storage/engine/records/name_check.h"

namespace wdelta {

// Belongs to its rpc; one thread at a time. The environment must outlive its use, not its
// destruction.
class RpcCall {
 public:
  // `method` is `Service.Method`, as in method_rules.h, and must live for ever.
  RpcCall(RpcEnvironment* environment, std::string_view method,
          grpc::CallbackServerContext* context);

  // Before anything else. Not OK: the call is to end with it. UNAUTHENTICATED
  // (`TOKEN_MISSING`, `TOKEN_UNKNOWN`); PERMISSION_DENIED (`SCOPE_MISSING`,
  // `NAME_NOT_ALLOWED`: the method concerns all models and the token some).
  const absl::Status& access() const { return access_; }

  // Whether the method may change something.
  bool Changes() const { return rule_ == nullptr || rule_->IsAudited(); }

  // Before the request is acted upon; of a stream of requests, the first. Of a token that is
  // for some names, looks up the models that the request names by id, digest, tag, upload or
  // job, so that it may block. PERMISSION_DENIED (`NAME_NOT_ALLOWED`) for names that the
  // request writes; NOT_FOUND, as the method says it of what is not there, for what belongs to
  // another name. What is not there is left to the method to say.
  absl::Status CheckRequest(const google::protobuf::Message& request);

  // Takes out of an answer what the caller may not read. PERMISSION_DENIED
  // (`NAME_NOT_ALLOWED`) where it is of no use in part.
  absl::Status CheckResponse(google::protobuf::Message& response);

  // For what a method finds out by itself. May outlive the call.
  NameCheck name_check() const;

  // Null: no token is asked for.
  const IdentityPtr& identity() const { return identity_; }

  // Once, at the end.
  void Done(const absl::Status& status);

 private:
  absl::Status Admit(const grpc::CallbackServerContext& context);
  absl::Status CheckSubject(SubjectKind kind, const std::string& value) const;
  absl::Status CheckWrittenName(const std::string& reference) const;
  absl::Status CheckModel(const std::string& reference) const;
  absl::Status CheckUpload(const std::string& id) const;
  absl::Status CheckJob(const std::string& id) const;
  bool IsLimited() const { return identity_ != nullptr && identity_->IsLimited(); }

  RpcEnvironment& environment_;
  const std::string_view method_;
  const MethodRule* const rule_;
  RpcLog log_;
  IdentityPtr identity_;
  absl::Status access_;
  std::vector<std::string> subjects_;  // for the audit log
};

}  // namespace wdelta

// Tokens and scopes, of every rpc.
#include <memory>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "gtest/gtest.h"
#include "server/auth/method_rules.h"
#include "spdlog/sinks/ostream_sink.h"
#include "tests/server/access_fixture.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Sends one empty request, whatever kind of rpc it is; `authorization` empty: none.
grpc::Status CallEmpty(const std::shared_ptr<grpc::Channel>& channel, absl::string_view method,
                       const std::vector<std::string>& authorizations) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  for (const std::string& value : authorizations) context.AddMetadata("authorization", value);
  grpc::CompletionQueue queue;
  const std::string path = absl::StrCat("/wdelta.v1.", absl::StrReplaceAll(method, {{".", "/"}}));
  const auto call = stub.PrepareCall(&context, path, &queue);
  const auto next = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  grpc::Status status;
  call->StartCall(nullptr);
  if (next()) {
    const grpc::Slice nothing;
    call->WriteLast(grpc::ByteBuffer(&nothing, 1), grpc::WriteOptions(), nullptr);
    next();
    grpc::ByteBuffer answer;
    do {
      call->Read(&answer, nullptr);
    } while (next());
  }
  call->Finish(&status, nullptr);
  next();
  return status;
}

TEST_F(AccessTest, EveryMethodAsksForAToken) {
  const auto channel = server().NewChannel();
  for (const MethodRule& rule : AllMethodRules()) {
    EXPECT_EQ(CodeAndReason(CallEmpty(channel, rule.method, {})), "UNAUTHENTICATED TOKEN_MISSING")
        << rule.method;
    EXPECT_EQ(CodeAndReason(CallEmpty(channel, rule.method, {"Bearer wd_stranger"})),
              "UNAUTHENTICATED TOKEN_UNKNOWN")
        << rule.method;
  }
  EXPECT_EQ(CodeAndReason(CallEmpty(channel, "Models.ListModels", {"Bearer wd_reader"})), "OK");
  EXPECT_EQ(CodeAndReason(CallEmpty(channel, "Models.ListModels", {"wd_reader"})),
            "UNAUTHENTICATED TOKEN_UNKNOWN");
  EXPECT_EQ(CodeAndReason(
                CallEmpty(channel, "Models.ListModels", {"Bearer wd_reader", "Bearer wd_reader"})),
            "UNAUTHENTICATED TOKEN_UNKNOWN");
}

TEST_F(AccessTest, EveryMethodNeedsItsScopeAndNoOther) {
  const auto channel = server().NewChannel();
  for (const MethodRule& rule : AllMethodRules()) {
    for (const auto& [token, scope] :
         {std::pair("reader", Scope::kRead), std::pair("writer", Scope::kWrite),
          std::pair("admin", Scope::kAdmin)}) {
      const std::string found =
          CodeAndReason(CallEmpty(channel, rule.method, {absl::StrCat("Bearer wd_", token)}));
      if (rule.scope == scope || rule.scope == Scope::kAny) {
        EXPECT_THAT(found, Not(HasSubstr("PERMISSION_DENIED"))) << rule.method << " " << token;
        EXPECT_THAT(found, Not(HasSubstr("UNAUTHENTICATED"))) << rule.method << " " << token;
      } else {
        EXPECT_EQ(found, "PERMISSION_DENIED SCOPE_MISSING") << rule.method << " " << token;
      }
    }
  }
}

TEST_F(AccessTest, WhatConcernsAllModelsIsNotForSomeNames) {
  const auto channel = server().NewChannel();
  for (const MethodRule& rule : AllMethodRules()) {
    const std::string found = CodeAndReason(CallEmpty(channel, rule.method, {"Bearer wd_team"}));
    if (rule.needs_all_names) {
      EXPECT_EQ(found, "PERMISSION_DENIED NAME_NOT_ALLOWED") << rule.method;
    } else {
      EXPECT_THAT(found, Not(HasSubstr("PERMISSION_DENIED"))) << rule.method;
    }
  }
}

TEST(Access, WithoutTokensAnyoneMayCall) {
  TestServer server;
  server.Push("m", SmallCheckpoint(1));
  server.UseToken("anything");
  v1::Model model;
  v1::GetModelRequest request;
  request.set_model("m");
  grpc::ClientContext context;
  EXPECT_EQ(CodeAndReason(server.models->GetModel(&context, request, &model)), "OK");
}

TEST_F(AccessTest, AWriterMayPushAndAReaderMayFetch) {
  CallAs("writer");
  server().Push("m", SmallCheckpoint(1));
  EXPECT_EQ(CodeAndReason(server().FetchFile("m", "model.safetensors").status),
            "PERMISSION_DENIED SCOPE_MISSING");
  CallAs("reader");
  EXPECT_EQ(CodeAndReason(server().FetchFile("m", "model.safetensors").status), "OK");
  v1::Upload upload;
  v1::StartUploadRequest request;
  request.set_name("n");
  grpc::ClientContext context;
  EXPECT_EQ(CodeAndReason(server().uploads->StartUpload(&context, request, &upload)),
            "PERMISSION_DENIED SCOPE_MISSING");
}

TEST_F(AccessTest, TagsTellTheTokenThatSetThem) {
  CallAs("all");
  server().Push("m", SmallCheckpoint(1));
  v1::SetTagRequest request;
  request.set_name("m");
  request.set_tag("prod");
  request.set_model("m");
  v1::Tag tag;
  grpc::ClientContext context;
  ASSERT_EQ(CodeAndReason(server().models->SetTag(&context, request, &tag)), "OK");
  v1::ListTagHistoryRequest history;
  history.set_name("m");
  history.set_tag("prod");
  v1::ListTagHistoryResponse changes;
  grpc::ClientContext history_context;
  ASSERT_EQ(CodeAndReason(server().models->ListTagHistory(&history_context, history, &changes)),
            "OK");
  ASSERT_EQ(changes.changes_size(), 1);
  EXPECT_EQ(changes.changes(0).author(), "all");

  // What the client says does not stand for the token.
  server().Push("n", SmallCheckpoint(2));
  const auto author_of = [&](const std::string& model, const std::string& said) -> std::string {
    request.set_model(model);
    request.set_author(said);
    grpc::ClientContext set_context;
    const std::string set = CodeAndReason(server().models->SetTag(&set_context, request, &tag));
    if (set != "OK") return set;
    grpc::ClientContext list_context;
    EXPECT_EQ(CodeAndReason(server().models->ListTagHistory(&list_context, history, &changes)),
              "OK");
    return changes.changes(0).author();
  };
  EXPECT_EQ(author_of("n", "ann@ci"), "all (ann@ci)");
  EXPECT_EQ(author_of("m", "all"), "all");
  EXPECT_EQ(author_of("n", "a\nb"), "INVALID_ARGUMENT BAD_AUTHOR");
  EXPECT_EQ(author_of("n", std::string(128, 'x')),
            absl::StrCat("all (", std::string(122, 'x'), ")"));
  // Not cut amid a character of two bytes.
  EXPECT_EQ(author_of("m", absl::StrCat(std::string(121, 'x'), "\xC3\xA4z")),
            absl::StrCat("all (", std::string(121, 'x'), ")"));
}

class AuditTest : public AccessTest {
 protected:
  AuditTest() {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(text_);
    sink->set_pattern("%v");
    server().log().sinks().push_back(std::move(sink));
  }
  std::string Take() {
    std::string taken = text_.str();
    text_.str("");
    return taken;
  }

 private:
  std::ostringstream text_;
};

TEST_F(AuditTest, EveryWriteHasALineAndNoReadHas) {
  CallAs("all");
  const v1::Model model = server().Push("m", SmallCheckpoint(1));
  const std::string pushed = Take();
  EXPECT_THAT(pushed, HasSubstr("audit: token all Uploads.StartUpload m,"));
  EXPECT_THAT(pushed, HasSubstr("audit: token all Uploads.WriteEntries "));
  EXPECT_THAT(pushed, HasSubstr(",m: OK, request "));
  v1::DeleteModelRequest request;
  request.set_model("id:" + model.id());
  google::protobuf::Empty nothing;
  grpc::ClientContext context;
  EXPECT_EQ(CodeAndReason(server().models->DeleteModel(&context, request, &nothing)), "OK");
  EXPECT_THAT(Take(), HasSubstr(absl::StrCat("audit: token all Models.DeleteModel id:", model.id(),
                                             ": OK, request ")));
  v1::ListModelsResponse page;
  grpc::ClientContext list_context;
  EXPECT_EQ(CodeAndReason(server().models->ListModels(&list_context, {}, &page)), "OK");
  EXPECT_THAT(Take(), Not(HasSubstr("audit")));
}

TEST_F(AuditTest, WhatIsRefusedHasALineToo) {
  CallAs("team");
  v1::SetTagRequest request;
  request.set_name("other");
  request.set_tag("prod");
  v1::Tag tag;
  grpc::ClientContext context;
  EXPECT_EQ(CodeAndReason(server().models->SetTag(&context, request, &tag)),
            "PERMISSION_DENIED NAME_NOT_ALLOWED");
  EXPECT_THAT(Take(), HasSubstr("audit: token team Models.SetTag other,prod: NAME_NOT_ALLOWED"));
  server().UseToken("wd_stranger");
  grpc::ClientContext stranger_context;
  EXPECT_EQ(CodeAndReason(server().models->SetTag(&stranger_context, request, &tag)),
            "UNAUTHENTICATED TOKEN_UNKNOWN");
  const std::string refused = Take();
  EXPECT_THAT(refused, HasSubstr("audit: token - "));
  EXPECT_THAT(refused, HasSubstr("Models.SetTag -: TOKEN_UNKNOWN"));
  EXPECT_THAT(refused, Not(HasSubstr("wd_stranger")));
}

}  // namespace
}  // namespace wdelta::testing

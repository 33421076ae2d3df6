// A server that asks for tokens, and tokens for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "server/auth/authenticator.h"
#include "storage/base/digest.h"
#include "tests/server/test_server.h"
#include "tests/support/temp_folder.h"

namespace wdelta::testing {

class AccessTest : public ::testing::Test {
 protected:
  // Tokens are called as what they allow: `reader`, `writer`, `admin`, `all`, and `team`, which
  // allows all with names that begin with `team-`.
  AccessTest() {
    std::string file;
    AddToken("reader", "read", "", file);
    AddToken("writer", "write", "", file);
    AddToken("admin", "admin", "", file);
    AddToken("all", "read, write, admin", "", file);
    AddToken("team", "read, write, admin", "team-", file);
    folder_.Write("tokens", file);
    auto opened = Authenticator::Open(folder_ / "tokens");
    EXPECT_TRUE(opened.ok()) << opened.status();
    authenticator_ = *std::move(opened);
    RpcOptions options;
    options.authenticator = authenticator_.get();
    server_ = std::make_unique<TestServer>(options);
  }

  static void AddToken(const std::string& name, const std::string& scopes,
                       const std::string& prefix, std::string& file) {
    absl::StrAppend(&file, "- {name: ", name, ", sha256: ", Digest::Of("wd_" + name).ToHex(),
                    ", scopes: [", scopes, "]",
                    prefix.empty() ? "" : absl::StrCat(", names: [", prefix, "]"), "}\n");
  }

  TestServer& server() { return *server_; }
  void CallAs(const std::string& name) { server_->UseToken("wd_" + name); }

 private:
  const TempFolder folder_;
  std::unique_ptr<Authenticator> authenticator_;
  std::unique_ptr<TestServer> server_;
};

}  // namespace wdelta::testing

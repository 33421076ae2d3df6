#include "server/auth/authenticator.h"

#include <sys/resource.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "tests/support/temp_folder.h"

namespace wdelta {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Entry(const std::string& name, const std::string& token) {
  return absl::StrCat("- {name: ", name, ", sha256: ", Digest::Of(token).ToHex(),
                      ", scopes: [read]}\n");
}

class AuthenticatorTest : public ::testing::Test {
 protected:
  // Replaces the file, which gives it another inode.
  void Write(const std::string& text) const {
    folder_.Write("next", text);
    std::filesystem::rename(folder_ / "next", folder_ / "tokens");
  }
  std::unique_ptr<Authenticator> Open() const {
    auto opened = Authenticator::Open(folder_ / "tokens");
    EXPECT_TRUE(opened.ok()) << opened.status();
    return opened.ok() ? *std::move(opened) : nullptr;
  }

  const TempFolder folder_;
};

// The token's name, or the code and reason.
std::string Who(const Authenticator& authenticator, const std::string& authorization) {
  const auto found = authenticator.Authenticate(authorization);
  if (found.ok()) return (*found)->name;
  return absl::StrCat(absl::StatusCodeToString(found.status().code()), " ",
                      ErrorReason(found.status()));
}

TEST_F(AuthenticatorTest, TellsTokensApart) {
  Write(Entry("first", "wd_1") + Entry("second", "wd_2"));
  const auto authenticator = Open();
  EXPECT_EQ(authenticator->token_count(), 2u);
  EXPECT_EQ(Who(*authenticator, "Bearer wd_1"), "first");
  EXPECT_EQ(Who(*authenticator, "bearer  wd_2 "), "second");
  EXPECT_EQ(Who(*authenticator, ""), "UNAUTHENTICATED TOKEN_MISSING");
  for (const char* wrong : {"Bearer wd_3", "Bearer ", "Bearer", "wd_1", "Basic wd_1",
                            "Bearer wd_11", "Bearer Bearer wd_1"}) {
    EXPECT_EQ(Who(*authenticator, wrong), "UNAUTHENTICATED TOKEN_UNKNOWN") << wrong;
    EXPECT_THAT(std::string(authenticator->Authenticate(wrong).status().message()),
                Not(HasSubstr("wd_")));
  }
}

TEST_F(AuthenticatorTest, FindsWhatIsInForceByName) {
  Write(Entry("first", "wd_1") + Entry("second", "wd_2"));
  const auto authenticator = Open();
  EXPECT_EQ(authenticator->Find("second")->token_sha256, Digest::Of("wd_2").ToBytes());
  EXPECT_EQ(authenticator->Find("third"), nullptr);
  EXPECT_EQ(authenticator->Find(""), nullptr);
  Write(Entry("first", "wd_3"));
  EXPECT_TRUE(*authenticator->ReloadIfChanged());
  EXPECT_EQ(authenticator->Find("second"), nullptr);
  EXPECT_EQ(authenticator->Find("first")->token_sha256, Digest::Of("wd_3").ToBytes());
}

TEST_F(AuthenticatorTest, ReloadsWhatHasChanged) {
  Write(Entry("first", "wd_1"));
  const auto authenticator = Open();
  EXPECT_FALSE(*authenticator->ReloadIfChanged());
  const IdentityPtr kept = *authenticator->Authenticate("Bearer wd_1");
  Write(Entry("second", "wd_2"));
  EXPECT_TRUE(*authenticator->ReloadIfChanged());
  EXPECT_FALSE(*authenticator->ReloadIfChanged());
  EXPECT_EQ(Who(*authenticator, "Bearer wd_1"), "UNAUTHENTICATED TOKEN_UNKNOWN");
  EXPECT_EQ(Who(*authenticator, "Bearer wd_2"), "second");
  EXPECT_EQ(kept->name, "first");
}

TEST_F(AuthenticatorTest, ABrokenFileLeavesTheOldOneInForceAndIsToldOnce) {
  Write(Entry("first", "wd_1"));
  const auto authenticator = Open();
  Write("- name: x\n");
  const auto broken = authenticator->ReloadIfChanged();
  EXPECT_THAT(std::string(broken.status().message()), HasSubstr("entry 1 ('x'): sha256"));
  EXPECT_FALSE(*authenticator->ReloadIfChanged());
  EXPECT_EQ(Who(*authenticator, "Bearer wd_1"), "first");
  std::filesystem::remove(folder_ / "tokens");
  EXPECT_EQ(authenticator->ReloadIfChanged().status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(*authenticator->ReloadIfChanged());
  EXPECT_EQ(Who(*authenticator, "Bearer wd_1"), "first");
  Write(Entry("again", "wd_1"));
  EXPECT_TRUE(*authenticator->ReloadIfChanged());
  EXPECT_EQ(Who(*authenticator, "Bearer wd_1"), "again");
}

TEST_F(AuthenticatorTest, AFileThatCouldNotBeReadIsTriedAgain) {
  Write(Entry("first", "wd_1"));
  const auto authenticator = Open();
  Write(Entry("second", "wd_1"));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const absl::Status refused = authenticator->ReloadIfChanged().status();
  const absl::StatusOr<bool> again = authenticator->ReloadIfChanged();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(refused.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("open files"));
  ASSERT_TRUE(again.ok()) << "told twice: " << again.status();
  EXPECT_FALSE(*again);
  EXPECT_EQ(Who(*authenticator, "Bearer wd_1"), "first");
  EXPECT_TRUE(*authenticator->ReloadIfChanged());
  EXPECT_EQ(Who(*authenticator, "Bearer wd_1"), "second");
  EXPECT_FALSE(*authenticator->ReloadIfChanged());
}

TEST_F(AuthenticatorTest, AFolderInPlaceOfTheFileIsToldOnce) {
  Write(Entry("first", "wd_1"));
  const auto authenticator = Open();
  std::filesystem::remove(folder_ / "tokens");
  std::filesystem::create_directory(folder_ / "tokens");
  EXPECT_EQ(authenticator->ReloadIfChanged().status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(*authenticator->ReloadIfChanged());
  std::filesystem::remove(folder_ / "tokens");
  Write(Entry("second", "wd_1"));
  EXPECT_TRUE(*authenticator->ReloadIfChanged());
}

TEST_F(AuthenticatorTest, ABrokenFileDoesNotOpen) {
  Write("nonsense");
  EXPECT_THAT(std::string(Authenticator::Open(folder_ / "tokens").status().message()),
              HasSubstr(folder_ / "tokens"));
}

TEST_F(AuthenticatorTest, CallsGoOnWhileItReloads) {
  Write(Entry("a", "wd_1"));
  const auto authenticator = Open();
  std::atomic<bool> stops = false;
  std::thread caller([&] {
    while (!stops) EXPECT_TRUE(authenticator->Authenticate("Bearer wd_1").ok());
  });
  for (int i = 0; i < 50; ++i) {
    Write(Entry(absl::StrCat("a", i), "wd_1"));
    EXPECT_TRUE(authenticator->ReloadIfChanged().ok());
  }
  stops = true;
  caller.join();
  EXPECT_EQ(Who(*authenticator, "Bearer wd_1"), "a49");
}

}  // namespace
}  // namespace wdelta

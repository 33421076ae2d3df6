#include "client/cli/exit_codes.h"

#include "absl/strings/str_cat.h"
#include "client/cpp/local_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"

namespace wdelta {
namespace {

int CodeOf(absl::StatusCode code) { return static_cast<int>(ExitCodeOf(absl::Status(code, "x"))); }

TEST(ExitCodesTest, OneForEachKindOfError) {
  using Code = absl::StatusCode;
  EXPECT_EQ(static_cast<int>(ExitCodeOf(absl::OkStatus())), 0);
  for (const Code code :
       {Code::kInternal, Code::kUnknown, Code::kCancelled, Code::kUnimplemented}) {
    EXPECT_EQ(CodeOf(code), 1) << code;
  }
  EXPECT_EQ(CodeOf(Code::kNotFound), 3);
  EXPECT_EQ(CodeOf(Code::kAlreadyExists), 4);
  EXPECT_EQ(CodeOf(Code::kAborted), 4);
  EXPECT_EQ(CodeOf(Code::kInvalidArgument), 5);
  EXPECT_EQ(CodeOf(Code::kOutOfRange), 5);
  EXPECT_EQ(CodeOf(Code::kUnavailable), 6);
  EXPECT_EQ(CodeOf(Code::kDeadlineExceeded), 6);
  EXPECT_EQ(CodeOf(Code::kDataLoss), 7);
  EXPECT_EQ(CodeOf(Code::kResourceExhausted), 8);
  EXPECT_EQ(CodeOf(Code::kFailedPrecondition), 9);
  EXPECT_EQ(CodeOf(Code::kPermissionDenied), 11);
  EXPECT_EQ(CodeOf(Code::kUnauthenticated), 11);
}

TEST(ExitCodesTest, FilesOfThisMachineHaveACodeOfTheirOwn) {
  for (const auto code : {absl::StatusCode::kPermissionDenied, absl::StatusCode::kInternal}) {
    EXPECT_EQ(ExitCodeOf(LocalFileError(absl::Status(code, "x"))), ExitCode::kLocalFile);
  }
  EXPECT_EQ(ExitCodeOf(LocalFileError(absl::NotFoundError("x"))), ExitCode::kNotFound);
  const absl::Status of_server =
      MakeError(absl::StatusCode::kPermissionDenied, "SCOPE_MISSING", "x");
  EXPECT_EQ(ExitCodeOf(LocalFileError(of_server)), ExitCode::kNotPermitted);
}

TEST(ExitCodesTest, HelpNamesEveryCode) {
  for (int code = 0; code <= 11; ++code) {
    EXPECT_THAT(kExitCodesHelp, ::testing::HasSubstr(absl::StrCat(" ", code, "  ")));
  }
}

TEST(ExitCodesTest, OneLineOfError) {
  EXPECT_EQ(ErrorLine("push", MakeError(absl::StatusCode::kAlreadyExists, "NAME_TAKEN",
                                        "name `x`:\nis taken")),
            "wdelta: push: name `x`:?is taken [NAME_TAKEN]");
  EXPECT_EQ(ErrorLine("ls", absl::UnavailableError("no server")), "wdelta: ls: no server");
  EXPECT_EQ(ErrorLine("ls", absl::InternalError("")), "wdelta: ls: INTERNAL");
}

TEST(ExitCodesTest, OnlyOurOwnInterruptionIsOne) {
  EXPECT_EQ(ExitCodeOf(MakeError(absl::StatusCode::kCancelled, "INTERRUPTED", "x")),
            ExitCode::kInterrupted);
  EXPECT_EQ(ExitCodeOf(absl::CancelledError("x")), ExitCode::kOtherError);
}

}  // namespace
}  // namespace wdelta

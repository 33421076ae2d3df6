#include "server/rpc/status_map.h"

#include <map>

#include "google/rpc/error_info.pb.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/base/utf8.h"

namespace wdelta {
namespace {

google::rpc::ErrorInfo InfoOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), status.error_code());
  EXPECT_EQ(details.message(), status.error_message());
  google::rpc::ErrorInfo info;
  EXPECT_EQ(details.details_size(), 1);
  EXPECT_TRUE(details.details(0).UnpackTo(&info));
  return info;
}

TEST(StatusMap, CarriesReasonAndDetails) {
  const grpc::Status status =
      ToGrpcStatus(MakeError(absl::StatusCode::kOutOfRange, "WRONG_OFFSET", "expected 4, found 9",
                             {{"expected", "4"}, {"found", "9"}}));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(status.error_message(), "expected 4, found 9");
  const google::rpc::ErrorInfo info = InfoOf(status);
  EXPECT_EQ(info.reason(), "WRONG_OFFSET");
  EXPECT_EQ(info.domain(), "wdelta");
  EXPECT_EQ(info.metadata().at("expected"), "4");
  EXPECT_EQ(info.metadata().at("found"), "9");
}

TEST(StatusMap, EveryCodeKeepsItsNumberAndHasAReason) {
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status status =
        ToGrpcStatus(absl::Status(static_cast<absl::StatusCode>(code), "why"));
    EXPECT_EQ(static_cast<int>(status.error_code()), code);
    EXPECT_FALSE(InfoOf(status).reason().empty()) << code;
  }
  EXPECT_EQ(InfoOf(ToGrpcStatus(absl::InternalError("x"))).reason(), "INTERNAL");
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
}

TEST(StatusMap, MessagesAreOneShortLineOfUtf8) {
  EXPECT_EQ(ToGrpcStatus(absl::InternalError("a\nb")).error_message(), "a b");
  EXPECT_TRUE(IsValidUtf8(ToGrpcStatus(absl::InternalError("\xff\xfe")).error_message()));
  std::string umlauts = "x";
  while (umlauts.size() < 5000) umlauts += "\xc3\xbc";
  const std::string message = ToGrpcStatus(absl::InternalError(umlauts)).error_message();
  EXPECT_LT(message.size(), 1100u);
  EXPECT_TRUE(IsValidUtf8(message));
  EXPECT_EQ(message.find('?'), std::string::npos);
}

}  // namespace
}  // namespace wdelta

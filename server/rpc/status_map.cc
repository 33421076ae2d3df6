#include "server/rpc/status_map.h"

#include "absl/strings/string_view.h"
#include "google/rpc/error_info.pb.h"
#include "storage/base/error.h"
#include "storage/base/utf8.h"

namespace wdelta {
namespace {

// Trailers travel in HTTP/2 headers, whose usual limit is 8 KiB for all of them.
constexpr size_t kMaxMessageChars = 1024;
constexpr size_t kMaxDetailChars = 512;

// Protobuf strings must be UTF-8, and a message must not break a log line.
std::string OneLine(absl::string_view text, size_t max_chars) {
  std::string line(text.substr(0, max_chars));
  if (text.size() > max_chars) {
    // Does not cut a character in two.
    while (!line.empty() && (static_cast<unsigned char>(line.back()) & 0xC0) == 0x80) {
      line.pop_back();
    }
    if (!line.empty() && static_cast<unsigned char>(line.back()) >= 0xC0) line.pop_back();
    line += "...";
  }
  const bool is_utf8 = IsValidUtf8(line);
  for (char& c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) c = ' ';
    if (byte >= 0x80 && !is_utf8) c = '?';
  }
  return line;
}

}  // namespace

std::string WireReason(const absl::Status& status) {
  std::string reason = ErrorReason(status);
  return reason.empty() ? absl::StatusCodeToString(status.code()) : reason;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // A foreign status may carry a code that gRPC does not know.
  const int raw_code = static_cast<int>(status.code());
  const auto code = raw_code > 0 && raw_code <= static_cast<int>(grpc::StatusCode::UNAUTHENTICATED)
                        ? static_cast<grpc::StatusCode>(raw_code)
                        : grpc::StatusCode::UNKNOWN;
  google::rpc::ErrorInfo info;
  info.set_reason(OneLine(WireReason(status), kMaxDetailChars));
  info.set_domain(kErrorDomain);
  for (const auto& [key, value] : GetErrorDetails(status)) {
    (*info.mutable_metadata())[OneLine(key, kMaxDetailChars)] = OneLine(value, kMaxDetailChars);
  }
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(OneLine(status.message(), kMaxMessageChars));
  details.add_details()->PackFrom(info);
  return grpc::Status(code, details.message(), details.SerializeAsString());
}

}  // namespace wdelta

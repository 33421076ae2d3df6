#include "server/rpc/page_token.h"

#include "absl/strings/escaping.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "storage/base/byte_reader.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr uint8_t kTokenVersion = 1;
constexpr size_t kChecksumBytes = 4;
constexpr size_t kMaxTokenChars = 4096;

absl::Status BadToken(absl::string_view why) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PAGE_TOKEN",
                   absl::StrCat("page_token: ", why));
}

absl::StatusOr<std::string> ParseToken(absl::string_view filters, absl::string_view body) {
  ByteReader reader(body);
  WDELTA_ASSIGN_OR_RETURN(const uint8_t version, reader.ReadU8("version"));
  if (version != kTokenVersion) return BadToken("made by another version of the server");
  WDELTA_ASSIGN_OR_RETURN(const uint64_t fingerprint, reader.ReadU64("fingerprint"));
  if (fingerprint != Xxh3(filters)) {
    return BadToken("expected the filters of the request that gave it, found others");
  }
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view position,
                          reader.ReadBytes(reader.remaining(), "position"));
  return std::string(position);
}

}  // namespace

std::string EncodePageToken(absl::string_view filters, absl::string_view position) {
  if (position.empty()) return "";
  std::string raw;
  AppendU8(raw, kTokenVersion);
  AppendU64(raw, Xxh3(filters));
  raw.append(position.data(), position.size());
  AppendU32(raw, Crc32c(raw));
  return absl::WebSafeBase64Escape(raw);
}

absl::StatusOr<std::string> DecodePageToken(absl::string_view filters, absl::string_view token) {
  if (token.empty()) return std::string();
  std::string raw;
  if (token.size() > kMaxTokenChars || !absl::WebSafeBase64Unescape(token, &raw) ||
      raw.size() <= kChecksumBytes) {
    return BadToken("not a token of this server");
  }
  const absl::string_view body = absl::string_view(raw).substr(0, raw.size() - kChecksumBytes);
  std::string checksum;
  AppendU32(checksum, Crc32c(body));
  if (checksum != raw.substr(body.size())) return BadToken("damaged");
  absl::StatusOr<std::string> position = ParseToken(filters, body);
  // Whatever a reader says of the bytes, to the client it is a bad argument.
  if (absl::IsDataLoss(position.status())) return BadToken("damaged");
  return position;
}

std::string DeterministicBytes(const google::protobuf::MessageLite& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

}  // namespace wdelta

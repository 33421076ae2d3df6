// Page tokens: where a listing goes on. Pure functions; any thread.
//
// A token is opaque to clients: base64url of a version, a fingerprint of the
// request's filters, the position, and a checksum. It holds no secret, for positions tell only of
// what the caller may read (own_page.h), and grants nothing; the checksum catches accidents, the
// fingerprint a token that belongs to another listing.
#pragma once

#include <algorithm>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message_lite.h"
#include "storage/base/limits.h"

namespace wdelta {

// `filters` is whatever must be equal on all pages. An empty position means that
// nothing is left and gives the empty token.
std::string EncodePageToken(absl::string_view filters, absl::string_view position);

// The empty token gives the empty position. INVALID_ARGUMENT (`BAD_PAGE_TOKEN`).
absl::StatusOr<std::string> DecodePageToken(absl::string_view filters, absl::string_view token);

// The same bytes for equal messages, whatever the order of their maps.
std::string DeterministicBytes(const google::protobuf::MessageLite& message);

// Filters of a list request: all of it but page size and token.
template <typename Request>
std::string FiltersOf(Request request) {
  request.clear_page_size();
  request.clear_page_token();
  return request.GetTypeName() + DeterministicBytes(request);
}

// 0 means the default; more than the maximum is lowered to it.
inline uint32_t EffectivePageSize(uint32_t requested) {
  return requested == 0 ? limits::kDefaultPageSize : std::min(requested, limits::kMaxPageSize);
}

}  // namespace wdelta

// Bodies of requests that are small enough to be held in memory. Pure functions; any
// thread.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "httplib.h"
#include "nlohmann/json.hpp"

namespace wdelta {

// Takes a body of at most kMaxSmallBodyBytes. RESOURCE_EXHAUSTED (`BODY_TOO_LARGE`),
// INVALID_ARGUMENT (`BAD_BODY`) when the peer does not send all of it.
absl::StatusOr<std::string> ReadSmallBody(const httplib::ContentReader& reader);

// An object, nested at most kMaxJsonDepth deep, of at most kMaxJsonValues values.
// INVALID_ARGUMENT (`BAD_BODY`) that begins with `what`.
absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view what, const std::string& text);

// Both: a small body that is an object.
absl::StatusOr<nlohmann::json> ReadJsonObject(const httplib::ContentReader& reader);

// Members of an object. INVALID_ARGUMENT (`BAD_BODY`) that begins with `what` and names the
// key where there is none of this type.
absl::StatusOr<std::string> JsonString(absl::string_view what, const nlohmann::json& object,
                                       const char* key);
absl::StatusOr<uint64_t> JsonSize(absl::string_view what, const nlohmann::json& object,
                                  const char* key);
absl::StatusOr<nlohmann::json> JsonList(absl::string_view what, const nlohmann::json& object,
                                        const char* key);

}  // namespace wdelta

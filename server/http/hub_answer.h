// Answers as the clients of the Hub expect them. Pure functions; any thread.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "httplib.h"
#include "nlohmann/json.hpp"

namespace wdelta {

inline constexpr char kCommitHeader[] = "X-Repo-Commit";

// How the client reaches this server, for links: what its request or a proxy says.
std::string BaseUrl(const httplib::Request& request);

// 200.
void AnswerJson(const nlohmann::json& json, httplib::Response& response);

// The HTTP status of an error, its message as `X-Error-Message` and in a JSON body, and the
// `X-Error-Code` by which clients tell a missing repository, revision and file apart. What
// may succeed later is 503 with `Retry-After`.
void AnswerError(const absl::Status& error, httplib::Response& response);

// For a method that a target does not have.
void AnswerMethodNotAllowed(const char* allowed, httplib::Response& response);

}  // namespace wdelta

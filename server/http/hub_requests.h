// What the JSON and form bodies of requests say. Pure functions; any thread.
//
// Errors are INVALID_ARGUMENT (`BAD_BODY`, naming the field) unless others are told.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/digest.h"

namespace wdelta {

struct ContentName {
  Digest digest;
  uint64_t size_bytes = 0;
};

// 64 lower-case hex digits. INVALID_ARGUMENT (`BAD_DIGEST`).
absl::StatusOr<Digest> ParseOid(absl::string_view oid);

// `{"oid", "size"}`. Further: `BAD_DIGEST`; RESOURCE_EXHAUSTED (`FILE_TOO_LARGE`).
absl::StatusOr<ContentName> ParseVerifyRequest(const std::string& body);
// `{"objects": [{"oid", "size"}]}`. The same errors.
absl::StatusOr<std::vector<ContentName>> ParseBatchRequest(const std::string& body);

struct AnnouncedFile {
  std::string path;
  uint64_t size_bytes = 0;
};
// `{"files": [{"path", "size"}]}`. Further: INVALID_ARGUMENT (`BAD_PATH`).
absl::StatusOr<std::vector<AnnouncedFile>> ParsePreuploadRequest(const std::string& body);

struct PathsRequest {
  std::vector<std::string> paths;  // each once, in order of first mention
  bool expand = false;
};
// A JSON object or a form with `paths` and `expand`. Further: INVALID_ARGUMENT
// (`TOO_MANY_PATHS`: more than kMaxPathsInfo different ones; `BAD_TARGET`: of a form).
absl::StatusOr<PathsRequest> ParsePathsRequest(absl::string_view content_type,
                                               const std::string& body);

}  // namespace wdelta

// What peers of the HTTP server send as text, on any bytes: targets, ranges, commits, cards
// and the bodies of requests. The first byte chooses the reader. What is accepted must be
// within its bounds.
#include <cstdint>
#include <cstdlib>
#include <set>

#include "server/http/byte_range.h"
#include "server/http/http_limits.h"
#include "server/http/hub_commit.h"
#include "server/http/hub_requests.h"
#include "server/http/hub_route.h"
#include "server/http/model_card.h"
#include "storage/base/limits.h"
#include "storage/base/utf8.h"
#include "storage/tensor/checkpoint.h"

namespace {

using namespace wdelta;  // NOLINT: a program of one function

void Require(bool condition) {
  if (!condition) std::abort();
}

void ReadTarget(const std::string& text) {
  const absl::StatusOr<HubRoute> route = ParseHubTarget(text);
  if (!route.ok()) return;
  Require(IsValidUtf8(route->repo) && IsValidUtf8(route->revision) && IsValidUtf8(route->path));
  // A path comes back from its encoding.
  const absl::StatusOr<HubRoute> again =
      ParseHubTarget("/m/resolve/main/" + PercentEncode(route->path));
  const bool has_empty_end = route->path.empty() || route->path.back() == '/';
  if (again.ok() && !has_empty_end) Require(again->path == route->path);
}

// The first four bytes are the size of the file.
void ReadRange(const std::string& text) {
  uint64_t file_bytes = 0;
  for (size_t i = 0; i < 4 && i < text.size(); ++i) {
    file_bytes = file_bytes * 256 + static_cast<uint8_t>(text[i]);
  }
  const RequestedBytes bytes =
      ParseByteRange(absl::string_view(text).substr(std::min<size_t>(4, text.size())), file_bytes);
  if (bytes.kind == RequestedBytes::Kind::kUnsatisfiable) return;
  Require(bytes.offset <= file_bytes && bytes.size <= file_bytes - bytes.offset);
  Require(bytes.kind == RequestedBytes::Kind::kAll ? bytes.size == file_bytes : bytes.size > 0);
}

absl::StatusOr<HubCommit> ReadCommit(const std::string& text, size_t piece_bytes) {
  HubCommitParser parser([](const Digest& digest, absl::string_view content) {
    Require(digest == Digest::Of(content));
    return absl::OkStatus();
  });
  for (size_t at = 0; at < text.size(); at += piece_bytes) {
    const absl::Status status = parser.Feed(absl::string_view(text).substr(at, piece_bytes));
    if (!status.ok()) return status;
  }
  return parser.Finish();
}

// However it is cut, a commit says the same.
void ReadCommits(const std::string& text) {
  const absl::StatusOr<HubCommit> whole = ReadCommit(text, text.size() + 1);
  const absl::StatusOr<HubCommit> cut = ReadCommit(text, 3);
  Require(whole.status() == cut.status());
  if (!whole.ok()) return;
  Require(whole->operations.size() == cut->operations.size());
  for (const auto& operation : whole->operations) {
    if (const auto* added = std::get_if<HubCommit::Add>(&operation)) {
      Require(ValidateCheckpointPath(added->path).ok());
    }
  }
}

void ReadBodies(const std::string& text) {
  const absl::StatusOr<std::vector<AnnouncedFile>> files = ParsePreuploadRequest(text);
  if (files.ok()) {
    for (const AnnouncedFile& file : *files) Require(ValidateCheckpointPath(file.path).ok());
  }
  const absl::StatusOr<std::vector<ContentName>> contents = ParseBatchRequest(text);
  if (contents.ok()) {
    for (const ContentName& name : *contents) Require(name.size_bytes <= limits::kMaxFileBytes);
  }
  const absl::StatusOr<ContentName> content = ParseVerifyRequest(text);
  if (content.ok()) Require(content->size_bytes <= limits::kMaxFileBytes);
  for (const char* const type : {"application/json", "application/x-www-form-urlencoded"}) {
    const absl::StatusOr<PathsRequest> request = ParsePathsRequest(type, text);
    if (!request.ok()) continue;
    Require(request->paths.size() <= http_limits::kMaxPathsInfo);
    Require(std::set(request->paths.begin(), request->paths.end()).size() == request->paths.size());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (static_cast<uint8_t>(data[0] - '0') % 5) {
    case 0:
      ReadTarget(text);
      break;
    case 1:
      ReadRange(text);
      break;
    case 2:
      ReadCommits(text);
      break;
    case 3:
      Require(BaseModelsOf(text).size() <= limits::kMaxParents);
      break;
    default:
      ReadBodies(text);
  }
  return 0;
}

#include "server/http/hub_files.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "server/http/byte_range.h"
#include "server/http/connection_stream.h"
#include "server/http/http_limits.h"
#include "server/http/hub_answer.h"
#include "server/http/hub_listing.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/engine/content/cursor.h"

namespace wdelta {
namespace {

using store::v1::FileRecord;

constexpr char kFileType[] = "application/octet-stream";

// What a response sends its body from; goes with it.
struct OpenBody {
  AdmissionQueue::Slot download;
  AdmissionQueue::Slot fetch;
  std::shared_ptr<Cursor> cursor;
  std::shared_ptr<PieceBuffers> buffers;  // of the cursor's pieces
};

// Sends everything. False: the connection is of no more use.
bool SendBody(OpenBody& body, httplib::DataSink& sink, spdlog::logger& log,
              const std::string& what) {
  while (true) {
    absl::StatusOr<std::optional<CursorPiece>> piece = body.cursor->Next();
    if (!piece.ok()) {
      // The head is sent: only the missing rest tells the client.
      log.error("http: {} is cut: {}", what, std::string(piece.status().message()));
      return false;
    }
    if (!piece->has_value()) return true;
    if (!sink.write((*piece)->data.data(), (*piece)->data.size())) return false;
    body.buffers->Give(std::move((*piece)->data));
  }
}

bool NamesEtag(const std::string& condition, absl::string_view etag) {
  for (absl::string_view candidate : absl::StrSplit(condition, ',')) {
    candidate = absl::StripAsciiWhitespace(candidate);
    absl::ConsumePrefix(&candidate, "W/");
    if (candidate == etag || candidate == "*") return true;
  }
  return false;
}

}  // namespace

void HubFiles::Serve(const HubRoute& route, const httplib::Request& request,
                     const NameCheck& check_name, httplib::Response& response) {
  const absl::Status status = Answer(route, request, check_name, response);
  if (status.ok()) return;
  const std::string commit = response.get_header_value(kCommitHeader);
  response.headers.clear();
  if (!commit.empty()) response.set_header(kCommitHeader, commit);
  AnswerError(status, response);
}

absl::Status HubFiles::Answer(const HubRoute& route, const httplib::Request& request,
                              const NameCheck& check_name, httplib::Response& response) {
  WDELTA_ASSIGN_OR_RETURN(const Model model, models_.Find(route.repo, route.revision, check_name));
  response.set_header(kCommitHeader, CommitOf(model.record));
  const FileRecord* const file = FindFile(model.record, route.path);
  if (file == nullptr) {
    return MakeError(
        absl::StatusCode::kNotFound, "FILE_NOT_FOUND",
        absl::StrCat("model '", route.repo, "' has no file '", absl::CHexEscape(route.path), "'"),
        {{"file", route.path}});
  }
  const std::string etag = absl::StrCat("\"", absl::BytesToHexString(file->sha256()), "\"");
  response.set_header("ETag", etag);
  response.set_header("Accept-Ranges", "bytes");
  // For clients behind a proxy that changes the headers of the same meaning.
  response.set_header("X-Linked-Etag", etag);
  response.set_header("X-Linked-Size", absl::StrCat(file->size_bytes()));
  if (request.has_header("If-None-Match") &&
      NamesEtag(request.get_header_value("If-None-Match"), etag)) {
    response.status = 304;
    return absl::OkStatus();
  }
  RequestedBytes bytes{RequestedBytes::Kind::kAll, 0, file->size_bytes()};
  const bool is_same =
      !request.has_header("If-Range") || request.get_header_value("If-Range") == etag;
  if (request.method == "GET" && is_same) {
    bytes = ParseByteRange(request.get_header_value(kRangeHeader), file->size_bytes());
  }
  if (bytes.kind == RequestedBytes::Kind::kUnsatisfiable) {
    response.status = 416;
    response.set_header("Content-Range", absl::StrCat("bytes */", file->size_bytes()));
    return absl::OkStatus();
  }
  response.status = 200;
  if (bytes.kind == RequestedBytes::Kind::kPart) {
    response.status = 206;
    response.set_header("Content-Range",
                        absl::StrCat("bytes ", bytes.offset, "-", bytes.offset + bytes.size - 1,
                                     "/", file->size_bytes()));
  }
  if (request.method == "HEAD" || bytes.size == 0) {
    response.set_header("Content-Type", kFileType);
    response.set_header("Content-Length", absl::StrCat(bytes.size));
    return absl::OkStatus();
  }
  return StartBody(model, *file, bytes.offset, bytes.size, response);
}

absl::StatusOr<AdmissionQueue::Slot> HubFiles::PlaceOf(AdmissionQueue& queue, absl::Time end) {
  if (std::optional<AdmissionQueue::Slot> slot = queue.TryEnter()) return *std::move(slot);
  const std::optional<Admission::Slot> waits = waiting_.TryEnter();
  // No wait is one that ends at once: the queue says why.
  return queue.Await(waits.has_value() ? end - absl::Now() : absl::ZeroDuration());
}

absl::Status HubFiles::StartBody(const Model& model, const FileRecord& file, uint64_t offset,
                                 uint64_t size, httplib::Response& response) {
  const absl::Time end = absl::Now() + absl::Milliseconds(http_limits::kMaxFetchWaitMs);
  WDELTA_ASSIGN_OR_RETURN(AdmissionQueue::Slot download, PlaceOf(downloads_, end));
  WDELTA_ASSIGN_OR_RETURN(AdmissionQueue::Slot fetch, PlaceOf(fetches_, end));
  WDELTA_ASSIGN_OR_RETURN(ContentSourcePtr source, store_.reader().OpenToServe(model.record));
  const Checkpoint& checkpoint = source->checkpoint();
  const auto found = std::find_if(checkpoint.files.begin(), checkpoint.files.end(),
                                  [&](const auto& f) { return f.path == file.path(); });
  if (found == checkpoint.files.end() || found->sha256.ToBytes() != file.sha256()) {
    return absl::DataLossError(absl::StrCat(file.path(), ": the stored model has another file"));
  }
  const auto index = static_cast<uint32_t>(found - checkpoint.files.begin());
  std::vector<StreamRange> ranges = RangesOfFile(checkpoint, index, offset, size);
  auto cursor = store_.reader().NewCursor(std::move(source), std::move(ranges));
  const auto body = std::make_shared<OpenBody>(OpenBody{
      std::move(download), std::move(fetch), std::move(cursor), store_.reader().buffers()});
  response.set_content_provider(
      size, kFileType,
      [body, log = &log_, what = absl::StrCat(model.record.name(), "/", file.path())](
          size_t, size_t, httplib::DataSink& sink) { return SendBody(*body, sink, *log, what); },
      [body](bool) { body->cursor->Cancel(); });
  return absl::OkStatus();
}

}  // namespace wdelta

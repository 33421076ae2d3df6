#include "tests/bench/fetch_parts.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "httplib.h"
#include "storage/base/status_macros.h"
#include "tests/bench/timers.h"

namespace wdelta::bench {
namespace {

constexpr size_t kCatBytes = 1 << 20;

}  // namespace

absl::Status SaveStoredDelta(Client& client, const std::string& model, const std::string& path) {
  v1::FetchDeltaRequest request;
  request.set_model(model);
  grpc::ClientContext context;
  const auto stream = client.fetch().FetchDelta(&context, request);
  std::ofstream out(path, std::ios::binary);
  v1::FetchFileResponse response;
  while (stream->Read(&response)) out << response.piece().data();
  const grpc::Status status = stream->Finish();
  if (!status.ok()) return absl::InternalError(status.error_message());
  if (!out.flush()) return absl::InternalError(absl::StrCat("cannot write ", path));
  return absl::OkStatus();
}

absl::StatusOr<Dropped> DropFile(Client& client, const v1::FetchFileRequest& request) {
  Dropped dropped;
  const double start = WallSeconds();
  grpc::ClientContext context;
  const auto stream = client.fetch().FetchFile(&context, request);
  v1::FetchFileResponse response;
  while (stream->Read(&response)) {
    if (!response.has_piece()) continue;
    if (dropped.bytes == 0) dropped.first_piece_seconds = WallSeconds() - start;
    dropped.bytes += response.piece().data().size();
  }
  dropped.seconds = WallSeconds() - start;
  const grpc::Status status = stream->Finish();
  if (!status.ok()) return absl::InternalError(status.error_message());
  return dropped;
}

absl::StatusOr<Dropped> DropDownload(const std::string& address, const std::string& target,
                                     uint64_t first_byte, uint64_t last_byte) {
  Dropped dropped;
  httplib::Client hub(address);
  httplib::Headers headers;
  if (last_byte > 0) {
    headers.emplace("Range", absl::StrCat("bytes=", first_byte, "-", last_byte));
  }
  const double start = WallSeconds();
  const auto result = hub.Get(target, headers, [&](const char*, size_t size) {
    if (dropped.bytes == 0) dropped.first_piece_seconds = WallSeconds() - start;
    dropped.bytes += size;
    return true;
  });
  dropped.seconds = WallSeconds() - start;
  if (!result) return absl::UnavailableError(httplib::to_string(result.error()));
  if (result->status != 200 && result->status != 206) {
    return absl::InternalError(absl::StrCat(target, ": ", result->status));
  }
  return dropped;
}

absl::StatusOr<double> CatSeconds(const std::filesystem::path& file) {
  const double start = WallSeconds();
  std::ifstream in(file, std::ios::binary);
  std::string piece(kCatBytes, '\0');
  while (in.read(piece.data(), kCatBytes)) {
  }
  if (!in.eof()) return absl::InternalError(absl::StrCat("cannot read ", file.string()));
  return WallSeconds() - start;
}

}  // namespace wdelta::bench

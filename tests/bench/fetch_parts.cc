#include "tests/bench/fetch_parts.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "httplib.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/wdelta/wdelta_reader.h"
#include "tests/bench/folder_source.h"
#include "tests/bench/timers.h"

namespace wdelta::bench {
namespace {

constexpr size_t kCatBytes = 1 << 20;

// Chunk by chunk into the same memory, as a window of pieces is used again and again.
absl::StatusOr<double> DecodeStream(const WdeltaReader& reader, const ContentSource& parent,
                                    uint32_t index, ChunkCodec& codec, std::string& decoded) {
  const WdeltaStream& stream = reader.file().streams[index];
  double seconds = 0;
  std::string parent_bytes;
  for (uint64_t chunk = 0; chunk < stream.chunk_count; ++chunk) {
    const ChunkSpan span = SpanOfChunk(reader.file(), stream, chunk);
    std::optional<absl::string_view> of_parent;
    if (reader.ChunkNeedsParent(index, chunk)) {
      const uint32_t parent_stream = stream.parent_stream.value();
      const uint64_t size = parent.checkpoint().streams.at(parent_stream).tensor.size_bytes;
      const uint64_t begin = std::min(span.offset_bytes, size);
      parent_bytes.resize(std::min(span.size_bytes, size - begin));
      WDELTA_RETURN_IF_ERROR(
          parent.Read(parent_stream, begin, parent_bytes.size(), parent_bytes.data()));
      of_parent = parent_bytes;
    }
    decoded.resize(std::max<size_t>(decoded.size(), span.size_bytes));
    const double start = ThreadSeconds();
    WDELTA_RETURN_IF_ERROR(reader.DecodeChunk(codec, index, chunk, of_parent, decoded.data()));
    seconds += ThreadSeconds() - start;
  }
  return seconds;
}

}  // namespace

absl::StatusOr<double> DecodeCpuSeconds(const std::string& wdelta_path,
                                        const std::string& parent_folder) {
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  WDELTA_ASSIGN_OR_RETURN(auto file, files->OpenForRead(wdelta_path));
  WDELTA_ASSIGN_OR_RETURN(const auto reader, WdeltaReader::Open(std::move(file)));
  WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr parent, OpenFolder(parent_folder, Digests::kNone));
  ChunkCodec codec;
  std::string decoded;
  double total = 0;
  for (uint32_t stream = 0; stream < reader->file().streams.size(); ++stream) {
    WDELTA_ASSIGN_OR_RETURN(const double seconds,
                            DecodeStream(*reader, *parent, stream, codec, decoded));
    total += seconds;
  }
  return total;
}

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

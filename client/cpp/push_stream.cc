#include "client/cpp/push_stream.h"

#include <algorithm>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/bounded_queue.h"
#include "client/cpp/rpc_status.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using PieceQueue = BoundedQueue<v1::WriteEntriesRequest>;

constexpr size_t kQueuedPieces = 6;

absl::Status FileChanged(const UploadFile& file, uint64_t found_bytes) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "FILE_CHANGED",
                   absl::StrCat(file.local.file_name, ": changed during the upload: expected ",
                                file.local.size_bytes, " bytes, found ", found_bytes),
                   {{"file", file.local.path}});
}

// Bytes that a stream before has hashed are not hashed twice.
void HashOnce(uint64_t offset, absl::string_view data, UploadFile& file) {
  const uint64_t end = offset + data.size();
  if (end <= file.hashed_bytes) return;
  file.hasher.Update(data.substr(file.hashed_bytes - offset));
  file.hashed_bytes = end;
}

// The known range that begins at `offset`; null: none does.
const KnownRange* KnownAt(uint64_t offset, const UploadFile& file) {
  const auto range =
      std::lower_bound(file.known.begin(), file.known.end(), offset,
                       [](const KnownRange& known, uint64_t at) { return known.offset < at; });
  return range != file.known.end() && range->offset == offset ? &*range : nullptr;
}

uint64_t NextKnown(uint64_t offset, const UploadFile& file) {
  const auto range =
      std::upper_bound(file.known.begin(), file.known.end(), offset,
                       [](uint64_t at, const KnownRange& known) { return at < known.offset; });
  return range != file.known.end() ? range->offset : file.local.size_bytes;
}

absl::Status HashRange(const RandomAccessFile& source, uint64_t piece_bytes,
                       const KnownRange& range, UploadFile& file) {
  std::string data;
  for (uint64_t done = 0; done < range.size_bytes; done += data.size()) {
    data.resize(std::min(piece_bytes, range.size_bytes - done));
    WDELTA_RETURN_IF_ERROR(source.Read(range.offset + done, data.data(), data.size()));
    HashOnce(range.offset + done, data, file);
  }
  return absl::OkStatus();
}

// False: the queue is abandoned.
absl::StatusOr<bool> ReadFile(FileSystem& file_system, uint64_t piece_bytes, UploadFile& file,
                              PieceQueue& queue) {
  WDELTA_ASSIGN_OR_RETURN(const auto source, file_system.OpenForRead(file.local.file_name));
  WDELTA_ASSIGN_OR_RETURN(const uint64_t found_bytes, source->SizeBytes());
  if (found_bytes != file.local.size_bytes) return FileChanged(file, found_bytes);
  uint64_t offset = std::min(file.hashed_bytes, file.durable_bytes);
  while (offset < file.local.size_bytes) {
    const bool is_durable = offset < file.durable_bytes;
    if (const KnownRange* range = is_durable ? nullptr : KnownAt(offset, file)) {
      v1::WriteEntriesRequest piece;
      piece.set_path(file.local.path);
      piece.set_offset(offset);
      piece.mutable_copy()->set_sha256(range->sha256.ToHex());
      piece.mutable_copy()->set_size_bytes(range->size_bytes);
      if (!queue.Push(std::move(piece))) return false;
      WDELTA_RETURN_IF_ERROR(HashRange(*source, piece_bytes, *range, file));
      offset += range->size_bytes;
      continue;
    }
    const uint64_t end = is_durable ? file.durable_bytes : NextKnown(offset, file);
    const uint64_t size = std::min(piece_bytes, end - offset);
    v1::WriteEntriesRequest piece;
    piece.set_offset(offset);
    std::string& data = *piece.mutable_data();
    data.resize(size);
    WDELTA_RETURN_IF_ERROR(source->Read(offset, data.data(), size));
    HashOnce(offset, data, file);
    offset += size;
    if (is_durable) continue;
    piece.set_path(file.local.path);
    piece.set_crc32c(Crc32c(data));
    if (!queue.Push(std::move(piece))) return false;
  }
  return true;
}

absl::Status ReadFiles(uint64_t piece_bytes, std::vector<UploadFile>& files, PieceQueue& queue) {
  const std::unique_ptr<FileSystem> file_system = NewPosixFileSystem();
  for (UploadFile& file : files) {
    const absl::StatusOr<bool> wanted = ReadFile(*file_system, piece_bytes, file, queue);
    if (!wanted.ok()) return LocalFileError(wanted.status());
    if (!*wanted) break;
  }
  return absl::OkStatus();
}

// The open call, and how far it is.
struct Stream {
  grpc::ClientContext context;
  v1::WriteEntriesResponse response;
  std::unique_ptr<grpc::ClientWriter<v1::WriteEntriesRequest>> writer;
  Progress progress;
};

// False: the call is broken.
bool WriteAll(Client& client, const std::string& upload, PieceQueue& queue, Stream& stream,
              const ProgressCallback& callback, SentBytes& bytes) {
  while (auto piece = queue.Pop()) {
    if (stream.writer == nullptr) {
      piece->set_upload(upload);
      stream.writer = client.uploads().WriteEntries(&stream.context, &stream.response);
    }
    if (!stream.writer->Write(*piece)) return false;
    const uint64_t copied_bytes = piece->copy().size_bytes();
    bytes.sent += piece->data().size();
    bytes.copied += copied_bytes;
    stream.progress.done_bytes += piece->data().size() + copied_bytes;
    stream.progress.path = piece->path();
    if (callback) callback(stream.progress);
  }
  return true;
}

}  // namespace

absl::Status SendRemaining(Client& client, const std::string& upload, uint64_t piece_bytes,
                           std::vector<UploadFile>& files, const ProgressCallback& callback,
                           Interrupt* interrupt, SentBytes& bytes) {
  Stream stream;
  const Interrupt::Scope scope(interrupt, &stream.context);
  for (const UploadFile& file : files) {
    stream.progress.done_bytes += file.durable_bytes;
    stream.progress.total_bytes += file.local.size_bytes;
  }
  PieceQueue queue(kQueuedPieces);
  absl::Status read_status;
  std::thread reader([&] {
    read_status = ReadFiles(piece_bytes, files, queue);
    queue.Close();
  });
  const bool written = WriteAll(client, upload, queue, stream, callback, bytes);
  queue.Abandon();
  reader.join();
  if (stream.writer == nullptr) return read_status;
  if (!read_status.ok()) {
    stream.context.TryCancel();
    stream.writer->Finish();
    return read_status;
  }
  if (written) stream.writer->WritesDone();
  const absl::Status status = FromGrpcStatus(stream.writer->Finish());
  if (status.ok() && !written) return absl::UnavailableError("the server ended the upload stream");
  return status;
}

}  // namespace wdelta

#include "client/cpp/pull_file.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/backoff.h"
#include "client/cpp/file_receiver.h"
#include "client/cpp/part_file.h"
#include "client/cpp/piece_checks.h"
#include "client/cpp/rpc_status.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kHashBytes = 1 * limits::kMiB;

// Nullopt: it cannot be read.
std::optional<Digest> HashFile(const std::string& name, uint64_t size_bytes, Sha256Hasher& hasher) {
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  const auto file = files->OpenForRead(name);
  if (!file.ok()) return std::nullopt;
  std::string buffer;
  for (uint64_t offset = 0; offset < size_bytes; offset += buffer.size()) {
    buffer.resize(std::min(kHashBytes, size_bytes - offset));
    if (!(*file)->Read(offset, buffer.data(), buffer.size()).ok()) return std::nullopt;
    hasher.Update(buffer);
  }
  return hasher.Current();
}

bool Holds(const std::string& name, const v1::File& file) {
  std::error_code error;
  const bool is_alike =
      fs::is_regular_file(name, error) && fs::file_size(name, error) == file.size_bytes() && !error;
  if (!is_alike || file.sha256().empty()) return false;
  Sha256Hasher hasher;
  const std::optional<Digest> found = HashFile(name, file.size_bytes(), hasher);
  return found.has_value() && found->ToHex() == file.sha256();
}

// Whether the bytes that a transfer left are not to be trusted: it received others than it
// should. A stream that ended too early, or damage that the server reports, says nothing of
// what came before.
bool IsLossOfPart(const absl::Status& status) {
  if (!absl::IsDataLoss(status)) return false;
  const std::string reason = ErrorReason(status);
  return reason == "SHA256_MISMATCH" || reason == "PIECE_CRC_MISMATCH" ||
         reason == "PIECE_OUT_OF_PLACE" || reason == "SIZE_MISMATCH";
}

}  // namespace

absl::Status FilePull::PutInPlace(const std::string& folder) {
  const std::string destination = absl::StrCat(folder, "/", file_.path());
  if (Holds(destination, file_)) {
    pulled_.was_there = true;
  } else if (const std::string earlier = absl::StrCat(options_.link_from, "/", file_.path());
             !options_.link_from.empty() && Holds(earlier, file_) &&
             LinkInPlace(earlier, destination)) {
    pulled_.is_linked = true;
  } else {
    WDELTA_RETURN_IF_ERROR(Fetch(destination));
  }
  MoveTo(file_.size_bytes());
  return absl::OkStatus();
}

absl::Status FilePull::Fetch(const std::string& destination) {
  Backoff backoff(options_.initial_backoff);
  absl::Duration busy_for;
  int broken = 0;  // connections in a row
  while (true) {
    const uint64_t received_before = pulled_.received_bytes;
    bool is_resumed = false;
    const absl::Status status = TryFetch(destination, is_resumed);
    if (status.ok()) return status;
    MoveTo(0);
    // What an earlier transfer left was not what it seemed to be.
    if (is_resumed && IsLossOfPart(status)) continue;
    if (pulled_.received_bytes > received_before) {
      backoff.Reset();
      busy_for = absl::ZeroDuration();
      broken = 0;
    }
    const bool may_retry = IsBusy(status)
                               ? busy_for < options_.max_busy_wait
                               : absl::IsUnavailable(status) && broken++ < options_.max_reconnects;
    if (!may_retry || interrupt_.IsTriggered()) return status;
    const absl::Duration pause = backoff.Next();
    if (IsBusy(status)) busy_for += pause;
    interrupt_.Sleep(pause);
  }
}

absl::Status FilePull::TryFetch(const std::string& destination, bool& is_resumed) {
  const std::string tag = file_.sha256().substr(0, kPartTagBytes);
  WDELTA_ASSIGN_OR_RETURN(PartFile part, PartFile::Resume(destination, tag, file_.size_bytes()));
  is_resumed = part.resumed_bytes() > 0;
  const absl::Status received = FetchInto(part);
  if (!IsLossOfPart(received)) part.KeepUnfinished();
  WDELTA_RETURN_IF_ERROR(received);
  return part.Commit();
}

// All of the file, but what the part has of it.
absl::Status FilePull::FetchInto(PartFile& part) {
  const uint64_t offset = part.resumed_bytes();
  Sha256Hasher hasher;
  if (offset > 0 && !HashFile(part.part_name(), offset, hasher).has_value()) {
    return absl::InternalError(absl::StrCat(part.part_name(), ": cannot be read"));
  }
  if (offset > 0) MoveTo(offset);
  if (offset > 0 && offset == file_.size_bytes()) {
    const PieceChecker whole(file_.path(), 0, file_.size_bytes());
    return whole.CheckSha256(file_.sha256(), hasher.Current().ToHex());
  }
  v1::FetchFileRequest request;
  request.set_model(absl::StrCat("id:", model_id_));
  request.set_path(file_.path());
  request.set_offset(offset);
  grpc::ClientContext context;
  const Interrupt::Scope scope(&interrupt_, &context);
  const auto reader = client_.fetch().FetchFile(&context, request);
  const bool is_hashed = options_.verify == Verify::kSha256 || offset > 0;
  return ReceiveFile(context, *reader,
                     {.path = file_.path(),
                      .size_bytes = file_.size_bytes(),
                      .offset = offset,
                      .sha256 = file_.sha256()},
                     is_hashed ? &hasher : nullptr, part, [this](uint64_t size_bytes) {
                       pulled_.received_bytes += size_bytes;
                       MoveTo(done_bytes_ + size_bytes);
                     });
}

void FilePull::MoveTo(uint64_t done_bytes) {
  const uint64_t before = std::exchange(done_bytes_, done_bytes);
  tally_.Move(file_.path(), before, done_bytes);
}

}  // namespace wdelta

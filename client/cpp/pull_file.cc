#include "client/cpp/pull_file.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/file_hash.h"
#include "client/cpp/file_receiver.h"
#include "client/cpp/part_file.h"
#include "client/cpp/piece_checks.h"
#include "client/cpp/transfer_retries.h"
#include "storage/base/digest.h"
#include "storage/base/status_macros.h"

namespace wdelta {

absl::Status FilePull::PutInPlace(const std::string& folder) {
  return KeepOrLink(folder) ? absl::OkStatus() : FetchInPlace(folder);
}

absl::Status FilePull::FetchInPlace(const std::string& folder) {
  WDELTA_RETURN_IF_ERROR(Fetch(absl::StrCat(folder, "/", file_.path())));
  MoveTo(file_.size_bytes());
  return absl::OkStatus();
}

bool FilePull::KeepOrLink(const std::string& folder) {
  const std::string destination = absl::StrCat(folder, "/", file_.path());
  if (HoldsContent(destination, file_)) {
    pulled_.was_there = true;
  } else if (const std::string earlier = absl::StrCat(options_.link_from, "/", file_.path());
             !options_.link_from.empty() && HoldsContent(earlier, file_) &&
             LinkInPlace(earlier, destination)) {
    pulled_.is_linked = true;
  } else {
    return false;
  }
  MoveTo(file_.size_bytes());
  return true;
}

absl::Status FilePull::Fetch(const std::string& destination) {
  TransferRetries retries(options_, stall_);
  while (true) {
    const uint64_t received_before = pulled_.received_bytes;
    bool is_resumed = false;
    const absl::Status status = TryFetch(destination, is_resumed);
    if (status.ok()) {
      stall_.GoesOn();  // an empty file has no piece that told it
      return status;
    }
    MoveTo(0);
    // What an earlier transfer left was not what it seemed to be.
    if (is_resumed && IsLossOfPart(status)) continue;
    if (pulled_.received_bytes > received_before) retries.Reset();
    const std::optional<absl::Duration> pause = retries.Next(status);
    if (!pause.has_value() || interrupt_.IsTriggered()) return status;
    AwaitRetry(client_, *pause, interrupt_);
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
  if (offset > 0) {
    WDELTA_RETURN_IF_ERROR(HashFile(part.part_name(), offset, hasher));
    MoveTo(offset);
  }
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
                       stall_.GoesOn();
                       pulled_.received_bytes += size_bytes;
                       MoveTo(done_bytes_ + size_bytes);
                     });
}

void FilePull::MoveTo(uint64_t done_bytes) {
  const uint64_t before = std::exchange(done_bytes_, done_bytes);
  tally_.Move(file_.path(), before, done_bytes);
}

}  // namespace wdelta

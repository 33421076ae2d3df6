#include "client/cpp/delta_download.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cpp/file_hash.h"
#include "client/cpp/piece_checks.h"
#include "client/cpp/rpc_status.h"
#include "client/cpp/transfer_retries.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;
using Reader = grpc::ClientReader<v1::FetchFileResponse>;

constexpr uint64_t kMaxIdBytes = 256;
constexpr uint64_t kUnknownBytes = std::numeric_limits<uint64_t>::max();
constexpr char kTruncated[] = "TRUNCATED_STREAM";
constexpr char kLockName[] = "lock";

std::string IdOf(const std::string& reference) {
  return std::string(absl::StripPrefix(reference, "id:"));
}

// What `N.id` holds: three lines.
absl::Status SaveIdentity(const std::string& name, const DeltaFile& delta) {
  WDELTA_ASSIGN_OR_RETURN(PartFile file, PartFile::Create(name));
  WDELTA_RETURN_IF_ERROR(
      file.Append(absl::StrCat(delta.delta_id, "\n", delta.model_id, "\n", delta.parent_id, "\n")));
  return file.Commit();
}

std::optional<DeltaFile> LoadIdentity(const std::string& name) {
  std::ifstream file(name, std::ios::binary);
  DeltaFile delta;
  const bool is_read = std::getline(file, delta.delta_id) && std::getline(file, delta.model_id) &&
                       std::getline(file, delta.parent_id);
  if (!is_read || delta.delta_id.empty() || delta.model_id.empty()) return std::nullopt;
  return delta;
}

absl::StatusOr<PartFile> LockFolder(const std::string& folder) {
  absl::StatusOr<PartFile> lock = PartFile::Create(absl::StrCat(folder, "/", kLockName));
  if (ErrorReason(lock.status()) != "PART_IN_USE") return lock;
  return MakeError(absl::StatusCode::kAborted, "PART_IN_USE",
                   absl::StrCat("another pull of the same model uses its deltas in ", folder),
                   {{"file", folder}});
}

// The lock goes last, by its own destructor: whoever gets it finds nothing that is about to go.
absl::Status RemoveAllBut(const PartFile& lock, const std::string& folder) {
  const std::string lock_name = fs::path(lock.part_name()).filename().string();
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> names, files->List(folder));
  for (const std::string& name : names) {
    if (name == lock_name) continue;
    WDELTA_RETURN_IF_ERROR(files->RemoveAll(absl::StrCat(folder, "/", name)));
  }
  return absl::OkStatus();
}

// Whether the part that the transfer was to go on with, or what came after it, is to be dropped.
bool IsOfNoUse(const absl::Status& status) {
  return IsLossOfPart(status) || absl::IsOutOfRange(status);
}

absl::Status CheckIdentity(const v1::FileHeader& header) {
  const v1::DeltaIdentity& delta = header.delta();
  if (delta.delta_id().empty() || delta.model().empty()) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "NO_DELTA",
                     "the server does not send deltas to models that are held");
  }
  for (const std::string* text : {&delta.delta_id(), &delta.model(), &delta.parent_model()}) {
    if (text->size() <= kMaxIdBytes && !absl::StrContains(*text, '\n')) continue;
    return absl::DataLossError("delta: expected ids of one line, found others");
  }
  return absl::OkStatus();
}

}  // namespace

std::string DeltaDownload::NameOf(size_t index, const char* ending) const {
  return absl::StrCat(folder_, "/", index, ending);
}

absl::StatusOr<PartFile> DeltaDownload::OpenPart(const DeltaFile& delta, uint64_t max_bytes) {
  const std::string tag = Digest::Of(delta.delta_id).ToHex().substr(0, kPartTagBytes);
  return PartFile::Resume(delta.file_name, tag, max_bytes);
}

bool DeltaDownload::IsComplete() const {
  return !deltas_.empty() && !deltas_.back().part_bytes.has_value() &&
         deltas_.back().model_id == model_id_;
}

// Whether it can be applied to what the deltas before it lead to.
bool DeltaDownload::FollowsOn(const DeltaFile& delta) const {
  if (!deltas_.empty()) return delta.parent_id == deltas_.back().model_id;
  return delta.parent_id.empty() ||
         std::find(held_ids_.begin(), held_ids_.end(), delta.parent_id) != held_ids_.end();
}

void RemoveDeltas(const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) return;
  {
    const absl::StatusOr<PartFile> lock = LockFolder(folder);
    if (lock.ok()) RemoveAllBut(*lock, folder).IgnoreError();
  }
  fs::remove(folder, error);
}

DeltaDownload::~DeltaDownload() {
  if (!lock_.has_value()) return;
  lock_.reset();
  // Only if nothing is left in it.
  std::error_code error;
  fs::remove(folder_, error);
}

absl::Status DeltaDownload::Lock() {
  if (lock_.has_value()) return absl::OkStatus();
  WDELTA_ASSIGN_OR_RETURN(PartFile lock, LockFolder(folder_));
  lock_.emplace(std::move(lock));
  return absl::OkStatus();
}

absl::Status DeltaDownload::Clear() {
  deltas_.clear();
  done_bytes_ = 0;
  went_on_ = false;
  return lock_.has_value() ? RemoveAllBut(*lock_, folder_) : absl::OkStatus();
}

// What an earlier download left.
absl::Status DeltaDownload::Load() {
  deltas_.clear();
  done_bytes_ = 0;
  while (!IsComplete()) {
    std::optional<DeltaFile> delta = LoadIdentity(NameOf(deltas_.size(), ".id"));
    if (!delta.has_value()) return absl::OkStatus();
    if (!FollowsOn(*delta)) return Clear();
    delta->file_name = NameOf(deltas_.size(), ".wdelta");
    std::error_code error;
    const uint64_t size_bytes = fs::file_size(delta->file_name, error);
    if (error) {
      WDELTA_ASSIGN_OR_RETURN(PartFile part, OpenPart(*delta, kUnknownBytes));
      part.KeepUnfinished();
      delta->part_bytes = part.resumed_bytes();
    } else {
      done_bytes_ += size_bytes;
    }
    deltas_.push_back(*std::move(delta));
    if (deltas_.back().part_bytes.has_value()) return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status DeltaDownload::Run(const std::function<void(const std::string&)>& on_parent) {
  on_parent_ = on_parent;
  WDELTA_RETURN_IF_ERROR(Lock());
  TransferRetries retries(options_, stall_);
  bool may_clear = true;
  while (true) {
    WDELTA_RETURN_IF_ERROR(Load());
    if (!deltas_.empty()) {
      went_on_ = true;
      on_parent_(deltas_.front().parent_id);
    }
    if (IsComplete()) return absl::OkStatus();
    const uint64_t received_before = received_bytes_;
    const bool had_some = !deltas_.empty();
    const absl::Status status = Receive();
    if (status.ok() && IsComplete()) {
      stall_.GoesOn();
      return absl::OkStatus();
    }
    if (interrupt_.IsTriggered()) return status;
    if (received_bytes_ > received_before) retries.Reset();
    // What an earlier download left is no good, or leads nowhere any more.
    if (had_some && may_clear && (IsOfNoUse(status) || absl::IsFailedPrecondition(status))) {
      may_clear = false;
      WDELTA_RETURN_IF_ERROR(Clear());
      continue;
    }
    const std::optional<absl::Duration> pause = retries.Next(status);
    if (!pause.has_value()) return status;
    AwaitRetry(client_, *pause, interrupt_);
  }
}

// One call, for what is not there yet.
absl::Status DeltaDownload::Receive() {
  v1::FetchDeltaRequest request;
  request.set_model(absl::StrCat("id:", model_id_));
  std::optional<PartFile> part;
  if (!deltas_.empty() && deltas_.back().part_bytes.has_value()) {
    WDELTA_ASSIGN_OR_RETURN(PartFile opened, OpenPart(deltas_.back(), kUnknownBytes));
    request.set_delta_id(deltas_.back().delta_id);
    request.set_offset(opened.resumed_bytes());
    deltas_.back().part_bytes = opened.resumed_bytes();
    part.emplace(std::move(opened));
  }
  const size_t whole = deltas_.size() - (part.has_value() ? 1 : 0);
  if (whole > 0) {
    request.add_held_models(absl::StrCat("id:", deltas_[whole - 1].model_id));
  } else {
    for (const std::string& id : held_ids_) request.add_held_models(absl::StrCat("id:", id));
  }
  grpc::ClientContext context;
  const Interrupt::Scope scope(&interrupt_, &context);
  const auto reader = client_.fetch().FetchDelta(&context, request);
  absl::Status status = ReceiveStream(*reader, part);
  const bool truncated = ErrorReason(status) == kTruncated;
  if (!status.ok() && !truncated) context.TryCancel();
  const absl::Status ended = FromGrpcStatus(reader->Finish());
  if (status.ok() || (truncated && !ended.ok())) status = ended;
  if (part.has_value() && !IsOfNoUse(status)) part->KeepUnfinished();
  return status;
}

// `part`: of the last delta, when it is one.
absl::Status DeltaDownload::ReceiveStream(Reader& reader, std::optional<PartFile>& part) {
  v1::FetchFileResponse message;
  while (reader.Read(&message)) {
    if (!message.has_header()) {
      return PieceError("delta", "PIECE_OUT_OF_PLACE", "expected a header, found none");
    }
    const v1::FileHeader header = message.header();
    WDELTA_RETURN_IF_ERROR(Begin(header, part));
    WDELTA_RETURN_IF_ERROR(ReceiveDelta(reader, header, *part));
    WDELTA_RETURN_IF_ERROR(part->Commit());
    part.reset();
    deltas_.back().part_bytes.reset();
  }
  if (IsComplete()) return absl::OkStatus();
  return PieceError("delta", kTruncated,
                    "the stream ended before the delta to the model was whole");
}

// Goes on with the part, or puts another delta in its place.
absl::Status DeltaDownload::Begin(const v1::FileHeader& header, std::optional<PartFile>& part) {
  WDELTA_RETURN_IF_ERROR(CheckIdentity(header));
  const bool goes_on = part.has_value() && header.offset() == part->resumed_bytes() &&
                       header.delta().delta_id() == deltas_.back().delta_id;
  if (goes_on) return absl::OkStatus();
  if (header.offset() != 0) {
    return PieceError(
        "delta", "PIECE_OUT_OF_PLACE",
        absl::StrCat("expected a delta from its beginning, found one from ", header.offset()));
  }
  if (part.has_value()) {
    part.reset();  // removes it
    deltas_.pop_back();
  }
  DeltaFile delta;
  delta.delta_id = header.delta().delta_id();
  delta.model_id = IdOf(header.delta().model());
  delta.parent_id = IdOf(header.delta().parent_model());
  // A delta that stands alone needs nothing of what came before.
  if (delta.parent_id.empty() && !deltas_.empty()) WDELTA_RETURN_IF_ERROR(Clear());
  if (!FollowsOn(delta)) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "NO_DELTA",
                     absl::StrCat("the server sends a delta to model id:", delta.parent_id,
                                  ", which is not held"));
  }
  if (deltas_.size() > limits::kMaxStorageDepth) {
    return absl::DataLossError(absl::StrCat(
        "delta: expected at most ", limits::kMaxStorageDepth + 1, ", the server sends more"));
  }
  delta.file_name = NameOf(deltas_.size(), ".wdelta");
  delta.part_bytes = 0;
  WDELTA_RETURN_IF_ERROR(SaveIdentity(NameOf(deltas_.size(), ".id"), delta));
  WDELTA_ASSIGN_OR_RETURN(PartFile opened, OpenPart(delta, 0));
  part.emplace(std::move(opened));
  deltas_.push_back(std::move(delta));
  on_parent_(deltas_.front().parent_id);
  return absl::OkStatus();
}

void DeltaDownload::Report(const v1::FileHeader& header) {
  if (!options_.progress) return;
  Progress progress{.done_bytes = done_bytes_, .path = header.path()};
  // How much is to come is known of the last delta alone, and only of one that is stored.
  if (header.size_bytes() > 0 && deltas_.back().model_id == model_id_) {
    progress.total_bytes = done_bytes_ - *deltas_.back().part_bytes + header.size_bytes();
  }
  options_.progress(progress);
}

absl::Status DeltaDownload::ReceiveDelta(Reader& reader, const v1::FileHeader& header,
                                         PartFile& part) {
  DeltaFile& delta = deltas_.back();
  const std::string subject = absl::StrCat("delta to model id:", delta.model_id);
  Sha256Hasher hasher;
  if (part.resumed_bytes() > 0) {
    WDELTA_RETURN_IF_ERROR(HashFile(part.part_name(), part.resumed_bytes(), hasher));
  }
  delta.part_bytes = part.resumed_bytes();
  done_bytes_ += part.resumed_bytes();
  const bool is_size_known = header.size_bytes() > 0;
  PieceChecker checker(subject, header.offset(), is_size_known ? header.length() : kUnknownBytes);
  v1::FetchFileResponse message;
  while (reader.Read(&message)) {
    if (message.has_trailer()) {
      const v1::Trailer& trailer = message.trailer();
      if (is_size_known) WDELTA_RETURN_IF_ERROR(checker.CheckTrailer(trailer));
      if (trailer.sent_bytes() != checker.received_bytes()) {
        return PieceError(subject, "SIZE_MISMATCH",
                          absl::StrCat("received ", checker.received_bytes(),
                                       " bytes, the server says it sent ", trailer.sent_bytes()));
      }
      absl::string_view stored_sha256 = delta.delta_id;
      if (!absl::ConsumePrefix(&stored_sha256, "sha256:")) stored_sha256 = "";
      const std::string found = hasher.Current().ToHex();
      WDELTA_RETURN_IF_ERROR(checker.CheckSha256(std::string(stored_sha256), found));
      return checker.CheckSha256(trailer.sha256(), found);
    }
    if (!message.has_piece()) {
      return PieceError(subject, "PIECE_OUT_OF_PLACE",
                        "expected a piece or the trailer, found something else");
    }
    const v1::Piece& piece = message.piece();
    WDELTA_RETURN_IF_ERROR(checker.Check(piece));
    hasher.Update(piece.data());
    WDELTA_RETURN_IF_ERROR(part.Append(piece.data()));
    stall_.GoesOn();
    received_bytes_ += piece.data().size();
    done_bytes_ += piece.data().size();
    *delta.part_bytes += piece.data().size();
    Report(header);
  }
  return PieceError(subject, kTruncated,
                    absl::StrCat("the stream ended without its trailer after ",
                                 checker.received_bytes(), " bytes"));
}

}  // namespace wdelta

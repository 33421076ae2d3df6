#include "client/cpp/pull.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
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
#include "storage/tensor/checkpoint.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kHashBytes = 1 * limits::kMiB;

// The server is not trusted to name files on this machine.
absl::Status CheckPaths(const v1::Model& model) {
  for (const v1::File& file : model.files()) {
    WDELTA_RETURN_IF_ERROR(ValidateCheckpointPath(file.path()));
    if (absl::EndsWith(file.path(), kPartSuffix)) {
      return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PATH",
                       absl::StrCat("path `", file.path(), "`: expected no name that ends with ",
                                    kPartSuffix, ", which marks files in transfer"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<v1::File>> SelectFiles(const v1::Model& model,
                                                  const std::vector<std::string>& paths) {
  if (paths.empty()) return std::vector<v1::File>(model.files().begin(), model.files().end());
  std::vector<v1::File> files;
  for (const std::string& path : paths) {
    const auto file = std::find_if(model.files().begin(), model.files().end(),
                                   [&](const v1::File& f) { return f.path() == path; });
    if (file == model.files().end()) {
      return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND",
                       absl::StrCat("model ", model.name(), " has no file `", path, "`"),
                       {{"file", path}});
    }
    files.push_back(*file);
  }
  return files;
}

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

// Pulls the files of one model. One thread at a time.
class Pull {
 public:
  Pull(Client& client, const std::string& folder, const PullOptions& options, PullResult& result)
      : client_(client), folder_(folder), options_(options), result_(result) {}

  absl::Status Run(const std::vector<v1::File>& files) {
    for (const v1::File& file : files) progress_.total_bytes += file.size_bytes();
    for (const v1::File& file : files) {
      progress_.path = file.path();
      const uint64_t done_bytes = progress_.done_bytes + file.size_bytes();
      WDELTA_RETURN_IF_ERROR(PutInPlace(file));
      ++result_.file_count;
      progress_.done_bytes = done_bytes;
      Report();
    }
    return absl::OkStatus();
  }

 private:
  void Report() const {
    if (options_.progress) options_.progress(progress_);
  }

  absl::Status PutInPlace(const v1::File& file) {
    const std::string destination = absl::StrCat(folder_, "/", file.path());
    if (Holds(destination, file)) {
      ++result_.unchanged_count;
      return absl::OkStatus();
    }
    if (!options_.link_from.empty()) {
      const std::string earlier = absl::StrCat(options_.link_from, "/", file.path());
      if (Holds(earlier, file) && LinkInPlace(earlier, destination)) {
        ++result_.linked_count;
        return absl::OkStatus();
      }
    }
    return FetchFile(file, destination);
  }

  absl::Status FetchFile(const v1::File& file, const std::string& destination) {
    const uint64_t done_before = progress_.done_bytes;
    Backoff backoff(options_.initial_backoff);
    absl::Duration busy_for;
    while (true) {
      const uint64_t received_before = result_.received_bytes;
      progress_.done_bytes = done_before;
      bool is_resumed = false;
      const absl::Status status = TryFetch(file, destination, is_resumed);
      if (status.ok()) return status;
      // What an earlier transfer left was not what it seemed to be.
      if (is_resumed && IsLossOfPart(status)) continue;
      if (result_.received_bytes > received_before) {
        backoff.Reset();
        busy_for = absl::ZeroDuration();
      }
      const bool may_retry = IsBusy(status) ? busy_for < options_.max_busy_wait
                                            : absl::IsUnavailable(status) &&
                                                  backoff.failures() < options_.max_reconnects;
      if (!may_retry) return status;
      const absl::Duration pause = backoff.Next();
      if (IsBusy(status)) busy_for += pause;
      absl::SleepFor(pause);
    }
  }

  absl::Status TryFetch(const v1::File& file, const std::string& destination, bool& is_resumed) {
    const std::string tag = file.sha256().substr(0, kPartTagBytes);
    WDELTA_ASSIGN_OR_RETURN(PartFile part, PartFile::Resume(destination, tag, file.size_bytes()));
    is_resumed = part.resumed_bytes() > 0;
    const absl::Status received = FetchInto(file, part);
    if (!IsLossOfPart(received)) part.KeepUnfinished();
    WDELTA_RETURN_IF_ERROR(received);
    return part.Commit();
  }

  // All of the file, but what the part has of it.
  absl::Status FetchInto(const v1::File& file, PartFile& part) {
    const uint64_t offset = part.resumed_bytes();
    Sha256Hasher hasher;
    if (offset > 0 && !HashFile(part.part_name(), offset, hasher).has_value()) {
      return absl::InternalError(absl::StrCat(part.part_name(), ": cannot be read"));
    }
    progress_.done_bytes += offset;
    if (offset > 0 && offset == file.size_bytes()) {
      const PieceChecker whole(file.path(), 0, file.size_bytes());
      return whole.CheckSha256(file.sha256(), hasher.Current().ToHex());
    }
    v1::FetchFileRequest request;
    request.set_model(absl::StrCat("id:", result_.model.id()));
    request.set_path(file.path());
    request.set_offset(offset);
    grpc::ClientContext context;
    const auto reader = client_.fetch().FetchFile(&context, request);
    const bool is_hashed = options_.verify == Verify::kSha256 || offset > 0;
    return ReceiveFile(context, *reader,
                       {.path = file.path(),
                        .size_bytes = file.size_bytes(),
                        .offset = offset,
                        .sha256 = file.sha256()},
                       is_hashed ? &hasher : nullptr, part, [this](uint64_t size_bytes) {
                         progress_.done_bytes += size_bytes;
                         result_.received_bytes += size_bytes;
                         Report();
                       });
  }

  Client& client_;
  const std::string& folder_;
  const PullOptions& options_;
  PullResult& result_;
  Progress progress_;
};

}  // namespace

absl::StatusOr<PullResult> PullModel(Client& client, const std::string& model,
                                     const std::string& folder, const PullOptions& options) {
  PullResult result;
  WDELTA_ASSIGN_OR_RETURN(result.model, client.GetModel(model));
  WDELTA_RETURN_IF_ERROR(CheckPaths(result.model));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::File> files,
                          SelectFiles(result.model, options.paths));
  WDELTA_RETURN_IF_ERROR(Pull(client, folder, options, result).Run(files));
  return result;
}

absl::StatusOr<PullResult> ExportDelta(Client& client, const std::string& model,
                                       const std::string& file_name,
                                       const ProgressCallback& progress_callback) {
  PullResult result;
  WDELTA_ASSIGN_OR_RETURN(result.model, client.GetModel(model));
  if (result.model.state() != v1::Model::READY) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_READY",
                     absl::StrCat("model ", model, ": expected state READY, found ",
                                  v1::Model::State_Name(result.model.state())));
  }
  absl::string_view sha256 = result.model.storage().delta_digest();
  absl::ConsumePrefix(&sha256, "sha256:");
  const ExpectedFile expected{.path = absl::StrCat("delta of ", model),
                              .size_bytes = result.model.stored_bytes(),
                              .sha256 = std::string(sha256)};
  Progress progress{.total_bytes = expected.size_bytes, .path = file_name};
  WDELTA_ASSIGN_OR_RETURN(PartFile part, PartFile::Create(file_name));
  v1::FetchDeltaRequest request;
  request.set_model(absl::StrCat("id:", result.model.id()));
  grpc::ClientContext context;
  const auto reader = client.fetch().FetchDelta(&context, request);
  Sha256Hasher hasher;
  WDELTA_RETURN_IF_ERROR(
      ReceiveFile(context, *reader, expected, &hasher, part, [&](uint64_t size_bytes) {
        progress.done_bytes += size_bytes;
        if (progress_callback) progress_callback(progress);
      }));
  WDELTA_RETURN_IF_ERROR(part.Commit());
  result.file_count = 1;
  result.received_bytes = progress.done_bytes;
  return result;
}

}  // namespace wdelta

#include "client/cpp/pull.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cpp/file_receiver.h"
#include "client/cpp/part_file.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {
namespace {

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

absl::Status PullFile(Client& client, const v1::Model& model, const v1::File& file,
                      const std::string& destination, Verify verify,
                      const std::function<void(uint64_t)>& on_bytes) {
  WDELTA_ASSIGN_OR_RETURN(PartFile part, PartFile::Create(destination));
  v1::FetchFileRequest request;
  request.set_model(absl::StrCat("id:", model.id()));
  request.set_path(file.path());
  grpc::ClientContext context;
  const auto reader = client.fetch().FetchFile(&context, request);
  WDELTA_RETURN_IF_ERROR(
      ReceiveFile(context, *reader,
                  {.path = file.path(), .size_bytes = file.size_bytes(), .sha256 = file.sha256()},
                  verify == Verify::kSha256, part, on_bytes));
  return part.Commit();
}

}  // namespace

absl::StatusOr<PullResult> PullModel(Client& client, const std::string& model,
                                     const std::string& folder, const PullOptions& options) {
  PullResult result;
  WDELTA_ASSIGN_OR_RETURN(result.model, client.GetModel(model));
  WDELTA_RETURN_IF_ERROR(CheckPaths(result.model));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::File> files,
                          SelectFiles(result.model, options.paths));
  Progress progress;
  for (const v1::File& file : files) progress.total_bytes += file.size_bytes();
  for (const v1::File& file : files) {
    progress.path = file.path();
    const auto on_bytes = [&](uint64_t size_bytes) {
      progress.done_bytes += size_bytes;
      if (options.progress) options.progress(progress);
    };
    WDELTA_RETURN_IF_ERROR(PullFile(client, result.model, file,
                                    absl::StrCat(folder, "/", file.path()), options.verify,
                                    on_bytes));
    ++result.file_count;
  }
  result.received_bytes = progress.done_bytes;
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
  WDELTA_RETURN_IF_ERROR(
      ReceiveFile(context, *reader, expected, true, part, [&](uint64_t size_bytes) {
        progress.done_bytes += size_bytes;
        if (progress_callback) progress_callback(progress);
      }));
  WDELTA_RETURN_IF_ERROR(part.Commit());
  result.file_count = 1;
  result.received_bytes = progress.done_bytes;
  return result;
}

}  // namespace wdelta

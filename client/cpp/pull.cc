#include "client/cpp/pull.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "client/cpp/delta_pull.h"
#include "client/cpp/file_receiver.h"
#include "client/cpp/interrupt.h"
#include "client/cpp/part_file.h"
#include "client/cpp/pull_destination.h"
#include "client/cpp/pull_file.h"
#include "storage/base/digest.h"
#include "storage/base/error.h"
#include "storage/base/shell_pattern.h"
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
  std::set<std::string> chosen;
  for (const std::string& path : paths) {
    bool is_found = false;
    for (const v1::File& file : model.files()) {
      if (file.path() != path && !MatchesPattern(path, file.path())) continue;
      is_found = true;
      if (chosen.insert(file.path()).second) files.push_back(file);
    }
    if (!is_found) {
      return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND",
                       absl::StrCat("model ", model.name(), " has no file `", path, "`"),
                       {{"file", path}});
    }
  }
  return files;
}

// The files of one model, several at once: each by one thread, with an interrupt of its own.
class Pull {
 public:
  Pull(Client& client, const std::string& folder, const PullOptions& options, PullResult& result)
      : client_(client), folder_(folder), options_(options), result_(result) {}

  absl::Status PutInPlace(const std::vector<v1::File>& files) {
    return Run(files, options_.progress, [this](FilePull& file) -> absl::StatusOr<bool> {
      WDELTA_RETURN_IF_ERROR(file.PutInPlace(folder_));
      return true;
    });
  }
  // Those that are neither in place nor to link.
  std::vector<v1::File> KeepOrLink(const std::vector<v1::File>& files) {
    // Nothing is transferred that there could be a progress of.
    Run(files, {}, [this](FilePull& file) { return file.KeepOrLink(folder_); }).IgnoreError();
    std::vector<v1::File> missing;
    absl::MutexLock lock(&mutex_);
    for (size_t i = 0; i < files.size(); ++i) {
      if (!is_in_place_[i]) missing.push_back(files[i]);
    }
    return missing;
  }
  // Of those that KeepOrLink returned.
  absl::Status Fetch(const std::vector<v1::File>& files) {
    return Run(files, options_.progress, [this](FilePull& file) -> absl::StatusOr<bool> {
      WDELTA_RETURN_IF_ERROR(file.FetchInPlace(folder_));
      return true;
    });
  }

 private:
  // Whether the file is in place afterwards.
  using FileTask = std::function<absl::StatusOr<bool>(FilePull&)>;

  absl::Status Run(const std::vector<v1::File>& files, const ProgressCallback& progress,
                   const FileTask& task) ABSL_LOCKS_EXCLUDED(mutex_) {
    uint64_t total_bytes = 0;
    for (const v1::File& file : files) total_bytes += file.size_bytes();
    PullTally tally(total_bytes, progress, options_.on_stall);
    {
      absl::MutexLock lock(&mutex_);
      next_ = 0;
      is_in_place_.assign(files.size(), false);
    }
    const size_t jobs = std::clamp<size_t>(options_.jobs, 1, std::max<size_t>(files.size(), 1));
    std::vector<Interrupt> interrupts(jobs);
    const auto work = [&](size_t job) {
      while (const std::optional<size_t> index = NextOf(files)) {
        FilePull pull(client_, result_.model.id(), files[*index], options_, tally, interrupts[job]);
        const absl::StatusOr<bool> done = task(pull);
        if (Count(*index, done, pull.pulled())) continue;
        for (Interrupt& interrupt : interrupts) interrupt.Trigger();
      }
    };
    std::vector<std::thread> threads;
    for (size_t job = 1; job < jobs; ++job) threads.emplace_back(work, job);
    work(0);
    for (std::thread& thread : threads) thread.join();
    absl::MutexLock lock(&mutex_);
    return first_error_;
  }

  // Nullopt when nothing is left to begin.
  std::optional<size_t> NextOf(const std::vector<v1::File>& files) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (!first_error_.ok() || next_ == files.size()) return std::nullopt;
    return next_++;
  }

  // False when it is the first error.
  bool Count(size_t index, const absl::StatusOr<bool>& done, const PulledFile& pulled)
      ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    result_.received_bytes += pulled.received_bytes;
    if (!done.ok()) {
      const bool is_first = first_error_.ok();
      first_error_.Update(done.status());
      return !is_first;
    }
    is_in_place_[index] = *done;
    if (!*done) return true;
    ++result_.file_count;
    if (pulled.was_there) ++result_.unchanged_count;
    if (pulled.is_linked) ++result_.linked_count;
    return true;
  }

  Client& client_;
  const std::string& folder_;
  const PullOptions& options_;
  absl::Mutex mutex_;
  PullResult& result_;  // its figures are guarded by the mutex
  // Of the files of one run.
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<bool> is_in_place_ ABSL_GUARDED_BY(mutex_);
  absl::Status first_error_ ABSL_GUARDED_BY(mutex_);
};

// From deltas where that will do.
absl::Status PullWithHeld(Client& client, const std::vector<v1::File>& files,
                          const std::string& folder, const PullOptions& options,
                          PullResult& result) {
  Pull pull(client, folder, options, result);
  std::vector<v1::File> needed = pull.KeepOrLink(files);
  if (needed.empty()) return absl::OkStatus();
  result.held_refusal = PullByDelta(client, needed, folder, options, result);
  const bool may_fetch = !options.requires_delta && MayDoWithoutDelta(result.held_refusal);
  if (!may_fetch) WDELTA_RETURN_IF_ERROR(result.held_refusal);
  return pull.Fetch(needed);
}

}  // namespace

absl::Status TellIfDeleted(const absl::Status& status, const v1::Model& model) {
  // Another may be missing: one that is held, say.
  const bool is_deleted =
      ErrorReason(status) == "MODEL_NOT_FOUND" && absl::StrContains(status.message(), model.id());
  if (!is_deleted) return status;
  return Annotate(status, absl::StrCat("model ", model.name(),
                                       " was there at the beginning, and was deleted meanwhile"));
}

absl::StatusOr<PullResult> PullModel(Client& client, const std::string& model,
                                     const std::string& folder, const PullOptions& options) {
  PullResult result;
  WDELTA_ASSIGN_OR_RETURN(result.model, client.GetModelToFetch(model));
  WDELTA_RETURN_IF_ERROR(CheckPaths(result.model));
  WDELTA_ASSIGN_OR_RETURN(const std::vector<v1::File> files,
                          SelectFiles(result.model, options.paths));
  for (const v1::File& file : files) result.total_bytes += file.size_bytes();
  WDELTA_RETURN_IF_ERROR(CheckDestination(files, folder, options.link_from));
  const absl::Status pulled = options.held.empty()
                                  ? Pull(client, folder, options, result).PutInPlace(files)
                                  : PullWithHeld(client, files, folder, options, result);
  WDELTA_RETURN_IF_ERROR(TellIfDeleted(pulled, result.model));
  // Nobody goes on with deltas to what is whole.
  if (options.paths.empty()) ForgetDeltas(folder, result.model.id());
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
  const absl::Status received =
      ReceiveFile(context, *reader, expected, &hasher, part, [&](uint64_t size_bytes) {
        progress.done_bytes += size_bytes;
        if (progress_callback) progress_callback(progress);
      });
  WDELTA_RETURN_IF_ERROR(TellIfDeleted(received, result.model));
  WDELTA_RETURN_IF_ERROR(part.Commit());
  result.file_count = 1;
  result.received_bytes = progress.done_bytes;
  return result;
}

}  // namespace wdelta

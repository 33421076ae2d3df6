#include "client/cpp/delta_pull.h"

#include <algorithm>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/cpp/apply_delta.h"
#include "client/cpp/delta_download.h"
#include "client/cpp/held_folder.h"
#include "client/cpp/interrupt.h"
#include "client/cpp/pull_file.h"
#include "storage/base/digest.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

struct Held {
  std::string folder;
  ContentSourcePtr source;
};

// Verifies one held folder in a thread of its own, and breaks off the download when it is not
// what it should be.
class HeldCheck {
 public:
  explicit HeldCheck(Interrupt& download) : download_(download) {}
  ~HeldCheck() { Stop(); }
  HeldCheck(const HeldCheck&) = delete;
  HeldCheck& operator=(const HeldCheck&) = delete;

  void Start(const Held& held) {
    thread_ = std::thread([this, held] {
      status_ = VerifyHeldFolder(*held.source, held.folder, [this]() -> absl::Status {
        return stopped_.IsTriggered() ? absl::CancelledError("not needed") : absl::OkStatus();
      });
      if (!status_.ok() && !stopped_.IsTriggered()) download_.Trigger();
    });
  }
  bool is_started() const { return thread_.joinable(); }
  // OK when there was nothing to check.
  absl::Status Await() {
    if (thread_.joinable()) thread_.join();
    return status_;
  }
  void Stop() {
    stopped_.Trigger();
    if (thread_.joinable()) thread_.join();
  }

 private:
  Interrupt& download_;
  Interrupt stopped_;
  absl::Status status_;  // of the thread, until it is joined
  std::thread thread_;
};

// The server is not trusted to name files on this machine.
std::string DeltaFolder(const std::string& folder, const std::string& model_id) {
  return absl::StrCat(folder, "/.wdelta-delta-", Digest::Of(model_id).ToHex().substr(0, 16));
}

class DeltaPull {
 public:
  DeltaPull(Client& client, const std::string& folder, const PullOptions& options,
            PullResult& result)
      : client_(client), folder_(folder), options_(options), result_(result) {}

  absl::Status Run(const std::vector<v1::File>& files) {
    const std::vector<v1::File> needed = NeededFiles(files);
    uint64_t needed_bytes = 0;
    for (const v1::File& file : needed) needed_bytes += file.size_bytes();
    const bool is_whole = needed.size() == static_cast<size_t>(result_.model.files_size());
    if (needed.empty() || (!is_whole && needed_bytes < result_.model.stored_bytes())) {
      return absl::OkStatus();
    }
    WDELTA_RETURN_IF_ERROR(OpenHeld());
    std::vector<std::string> ids;
    for (const auto& [id, held] : held_) ids.push_back(id);
    DeltaDownload download(client_, result_.model.id(), std::move(ids),
                           DeltaFolder(folder_, result_.model.id()), options_, interrupt_);
    absl::Status status = Download(download);
    result_.received_bytes += download.received_bytes();
    if (status.ok()) status = Apply(download, needed);
    // What led elsewhere is of no use to a later pull.
    if (status.ok() || MayDoWithoutDelta(status)) WDELTA_RETURN_IF_ERROR(download.Clear());
    return status;
  }

 private:
  // What is neither in place nor linked.
  std::vector<v1::File> NeededFiles(const std::vector<v1::File>& files) {
    std::vector<v1::File> needed;
    const ProgressCallback no_progress;
    PullTally tally(0, no_progress);
    for (const v1::File& file : files) {
      FilePull pull(client_, result_.model.id(), file, options_, tally, interrupt_);
      if (pull.KeepOrLink(folder_)) {
        (pull.pulled().was_there ? unchanged_count_ : linked_count_)++;
      } else {
        needed.push_back(file);
      }
    }
    return needed;
  }

  // One that is not usable is passed over, unless none is left.
  absl::Status OpenHeld() {
    absl::Status refusal;
    for (const HeldFolder& given : options_.held) {
      const absl::Status opened = OpenHeld(given);
      if (!opened.ok() && !MayDoWithoutDelta(opened)) return opened;
      refusal.Update(opened);
    }
    return held_.empty() ? refusal : absl::OkStatus();
  }

  absl::Status OpenHeld(const HeldFolder& given) {
    WDELTA_ASSIGN_OR_RETURN(const v1::Model model, client_.GetModel(given.model));
    WDELTA_ASSIGN_OR_RETURN(ContentSourcePtr source, OpenHeldFolder(model, given.folder));
    held_.try_emplace(model.id(), Held{given.folder, std::move(source)});
    return absl::OkStatus();
  }

  absl::Status Download(DeltaDownload& download) {
    HeldCheck check(interrupt_);
    std::string checked_id;
    const absl::Status received = download.Run([&](const std::string& parent_id) {
      parent_id_ = parent_id;
      if (parent_id.empty() || check.is_started()) return;
      checked_id = parent_id;
      check.Start(held_.at(parent_id));
    });
    const bool is_of_use = received.ok() || interrupt_.IsTriggered();
    if (!is_of_use || parent_id_.empty()) {
      check.Stop();
      return received;
    }
    WDELTA_RETURN_IF_ERROR(check.Await());
    WDELTA_RETURN_IF_ERROR(received);
    // The store may have chosen another one after a break.
    if (checked_id == parent_id_) return absl::OkStatus();
    const Held& held = held_.at(parent_id_);
    return VerifyHeldFolder(*held.source, held.folder, [] { return absl::OkStatus(); });
  }

  absl::Status Apply(const DeltaDownload& download, const std::vector<v1::File>& needed) {
    DeltaApplier applier;
    ContentSourcePtr held = parent_id_.empty() ? nullptr : held_.at(parent_id_).source;
    WDELTA_RETURN_IF_ERROR(applier.Open(download.deltas(), std::move(held), result_.model));
    WDELTA_RETURN_IF_ERROR(WriteAll(applier, needed));
    result_.applied_count = needed.size();
    result_.unchanged_count = unchanged_count_;
    result_.linked_count = linked_count_;
    result_.file_count = needed.size() + unchanged_count_ + linked_count_;
    return absl::OkStatus();
  }

  // As many at once as options say; the first error ends all.
  absl::Status WriteAll(DeltaApplier& applier, const std::vector<v1::File>& files) {
    absl::Mutex mutex;
    size_t next = 0;
    absl::Status first_error;
    const auto work = [&] {
      while (true) {
        const v1::File* file = nullptr;
        {
          absl::MutexLock lock(&mutex);
          if (!first_error.ok() || next == files.size()) return;
          file = &files[next++];
        }
        const absl::Status written = applier.Write(*file, absl::StrCat(folder_, "/", file->path()));
        absl::MutexLock lock(&mutex);
        first_error.Update(written);
      }
    };
    std::vector<std::thread> threads;
    const size_t jobs = std::clamp<size_t>(options_.jobs, 1, files.size());
    for (size_t job = 1; job < jobs; ++job) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    return first_error;
  }

  Client& client_;
  const std::string& folder_;
  const PullOptions& options_;
  PullResult& result_;
  Interrupt interrupt_;               // of the download
  std::map<std::string, Held> held_;  // by model id
  std::string parent_id_;             // that the first delta is applied to; empty: none
  uint64_t unchanged_count_ = 0;
  uint64_t linked_count_ = 0;
};

}  // namespace

bool MayDoWithoutDelta(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsNotFound(status) ||
         absl::IsDataLoss(status) || absl::IsInvalidArgument(status) ||
         absl::IsUnimplemented(status);
}

void ForgetDeltas(const std::string& folder, const std::string& model_id) {
  NewPosixFileSystem()->RemoveAll(DeltaFolder(folder, model_id)).IgnoreError();
}

absl::Status PullByDelta(Client& client, const std::vector<v1::File>& files,
                         const std::string& folder, const PullOptions& options,
                         PullResult& result) {
  return DeltaPull(client, folder, options, result).Run(files);
}

}  // namespace wdelta

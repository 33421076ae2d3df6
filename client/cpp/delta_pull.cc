#include "client/cpp/delta_pull.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/cpp/apply_delta.h"
#include "client/cpp/delta_download.h"
#include "client/cpp/held_folder.h"
#include "client/cpp/interrupt.h"
#include "storage/base/digest.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

namespace fs = std::filesystem;

// Fetched sooner than a delta is planned, whatever it would take.
constexpr uint64_t kFewBytes = 16 * limits::kKiB;

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
  DeltaPull(Client& client, std::vector<v1::File>& needed, const std::string& folder,
            const PullOptions& options, PullResult& result)
      : client_(client), needed_(needed), folder_(folder), options_(options), result_(result) {}

  absl::Status Run() {
    WDELTA_RETURN_IF_ERROR(OpenHeld());
    if (AreFilesFewerBytes()) return absl::OkStatus();
    std::vector<std::string> ids;
    for (const auto& [id, held] : held_) ids.push_back(id);
    DeltaDownload download(client_, result_.model.id(), std::move(ids),
                           DeltaFolder(folder_, result_.model.id()), options_, interrupt_);
    const absl::Status status = DownloadAndApply(download);
    result_.received_bytes += download.received_bytes();
    // What led elsewhere is of no use to a later pull.
    if (status.ok() || MayDoWithoutDelta(status)) WDELTA_RETURN_IF_ERROR(download.Clear());
    return status;
  }

 private:
  // Whether that is certain, and no earlier pull has begun with deltas.
  bool AreFilesFewerBytes() const {
    std::error_code error;
    const bool is_whole = needed_.size() == static_cast<size_t>(result_.model.files_size());
    if (is_whole || options_.requires_delta ||
        fs::exists(DeltaFolder(folder_, result_.model.id()), error)) {
      return false;
    }
    uint64_t needed_bytes = 0;
    for (const v1::File& file : needed_) needed_bytes += file.size_bytes();
    // What deltas take that the store would fold, or a chain of them, only the store can tell.
    const bool is_stored_delta = std::any_of(held_.begin(), held_.end(), [this](const auto& held) {
      return absl::StrCat("id:", held.first) == result_.model.storage().parent();
    });
    return needed_bytes < (is_stored_delta ? result_.model.stored_bytes() : kFewBytes);
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
    WDELTA_ASSIGN_OR_RETURN(const v1::Model model, client_.GetModelToFetch(given.model));
    WDELTA_ASSIGN_OR_RETURN(ContentSourcePtr source, OpenHeldFolder(model, given.folder));
    held_.try_emplace(model.id(), Held{given.folder, std::move(source)});
    return absl::OkStatus();
  }

  absl::Status DownloadAndApply(DeltaDownload& download) {
    WDELTA_RETURN_IF_ERROR(Download(download));
    const absl::Status applied = Apply(download);
    if (!absl::IsDataLoss(applied) || !download.went_on()) return applied;
    // What came at once is verified better than what an earlier stream or pull left.
    WDELTA_RETURN_IF_ERROR(download.Clear());
    WDELTA_RETURN_IF_ERROR(Download(download));
    return Apply(download);
  }

  absl::Status Download(DeltaDownload& download) {
    HeldCheck check(interrupt_);
    std::string checked_id;
    const absl::Status received = download.Run([&](const std::string& parent_id) {
      parent_id_ = parent_id;
      if (parent_id.empty() || verified_.contains(parent_id) || check.is_started()) return;
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
    if (!checked_id.empty()) verified_.insert(checked_id);
    // The store may have chosen another one after a break.
    if (verified_.contains(parent_id_)) return absl::OkStatus();
    const Held& held = held_.at(parent_id_);
    WDELTA_RETURN_IF_ERROR(
        VerifyHeldFolder(*held.source, held.folder, [] { return absl::OkStatus(); }));
    verified_.insert(parent_id_);
    return absl::OkStatus();
  }

  absl::Status Apply(const DeltaDownload& download) {
    DeltaApplier applier;
    ContentSourcePtr held = parent_id_.empty() ? nullptr : held_.at(parent_id_).source;
    WDELTA_RETURN_IF_ERROR(applier.Open(download.deltas(), std::move(held), result_.model));
    const std::vector<v1::File> files = std::exchange(needed_, {});
    return WriteAll(applier, files);
  }

  // As many at once as options say; the first error ends all. What was not written is needed
  // still.
  absl::Status WriteAll(DeltaApplier& applier, const std::vector<v1::File>& files) {
    absl::Mutex mutex;
    size_t next = 0;
    std::vector<bool> is_written(files.size(), false);
    absl::Status first_error;
    const auto work = [&] {
      while (true) {
        size_t index = 0;
        {
          absl::MutexLock lock(&mutex);
          if (!first_error.ok() || next == files.size()) return;
          index = next++;
        }
        const std::string destination = absl::StrCat(folder_, "/", files[index].path());
        const absl::Status written = applier.Write(files[index], destination);
        absl::MutexLock lock(&mutex);
        is_written[index] = written.ok();
        first_error.Update(written);
      }
    };
    std::vector<std::thread> threads;
    const size_t jobs = std::clamp<size_t>(options_.jobs, 1, files.size());
    for (size_t job = 1; job < jobs; ++job) threads.emplace_back(work);
    work();
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < files.size(); ++i) {
      if (!is_written[i]) {
        needed_.push_back(files[i]);
        continue;
      }
      ++result_.applied_count;
      ++result_.file_count;
    }
    return first_error;
  }

  Client& client_;
  std::vector<v1::File>& needed_;
  const std::string& folder_;
  const PullOptions& options_;
  PullResult& result_;
  Interrupt interrupt_;               // of the download
  std::map<std::string, Held> held_;  // by model id
  std::set<std::string> verified_;    // of them
  std::string parent_id_;             // that the first delta is applied to; empty: none
};

}  // namespace

bool MayDoWithoutDelta(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) || absl::IsNotFound(status) ||
         absl::IsDataLoss(status) || absl::IsInvalidArgument(status) ||
         absl::IsOutOfRange(status) || absl::IsUnimplemented(status) ||
         absl::IsPermissionDenied(status);
}

void ForgetDeltas(const std::string& folder, const std::string& model_id) {
  RemoveDeltas(DeltaFolder(folder, model_id));
}

absl::Status PullByDelta(Client& client, std::vector<v1::File>& needed, const std::string& folder,
                         const PullOptions& options, PullResult& result) {
  return DeltaPull(client, needed, folder, options, result).Run();
}

}  // namespace wdelta

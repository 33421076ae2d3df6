// Writing pieces of an upload.
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/uploads.h"

namespace wdelta {

class Uploads::Writer final : public UploadWriter {
 public:
  Writer(Uploads* uploads, store::v1::UploadRecord upload)
      : uploads_(uploads), upload_(std::move(upload)) {
    for (int i = 0; i < upload_.entries_size(); ++i) index_by_path_[upload_.entries(i).path()] = i;
  }

  ~Writer() override {
    Leave();
    absl::MutexLock lock(&uploads_->mutex_);
    auto found = uploads_->writers_.find(upload_.id());
    if (--found->second == 0) uploads_->writers_.erase(found);
  }

  absl::Status Write(const std::string& path, uint64_t offset, absl::string_view data) override {
    WDELTA_RETURN_IF_ERROR(Enter(path));
    const uint64_t size_bytes = upload_.entries(entry_).size_bytes();
    const uint64_t end = staged_->size_bytes();
    if (offset != end) {
      return MakeError(
          absl::StatusCode::kOutOfRange, "WRONG_OFFSET",
          absl::StrCat(path, ": expected offset ", end, ", found ", offset),
          {{"file", path}, {"expected", absl::StrCat(end)}, {"found", absl::StrCat(offset)}});
    }
    if (data.size() > size_bytes - end) {
      return MakeError(absl::StatusCode::kInvalidArgument, "PAST_END",
                       absl::StrCat(path, ": expected at most ", size_bytes - end,
                                    " more bytes, found ", data.size()),
                       {{"file", path}});
    }
    WDELTA_RETURN_IF_ERROR(Annotate(staged_->Append(data), path));
    written_bytes_ += data.size();
    if (staged_->size_bytes() - staged_->durable_bytes() >= limits::kSyncIntervalBytes) {
      WDELTA_RETURN_IF_ERROR(staged_->Sync(*uploads_->deps_.catalog));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> Sync() override {
    WDELTA_RETURN_IF_ERROR(SyncEntry());
    return written_bytes_;
  }

 private:
  std::string BusyKey() const { return absl::StrCat(upload_.id(), "/", entry_); }

  // Makes `path` the entry that is written, syncing the one before.
  absl::Status Enter(const std::string& path) {
    if (staged_ != nullptr && upload_.entries(entry_).path() == path) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(SyncEntry());
    Leave();
    const auto found = index_by_path_.find(path);
    if (found == index_by_path_.end()) {
      return MakeError(absl::StatusCode::kNotFound, "ENTRY_NOT_FOUND",
                       absl::StrCat("upload '", upload_.id(), "' has no entry '", path, "'"),
                       {{"file", path}});
    }
    entry_ = found->second;
    {
      absl::MutexLock lock(&uploads_->mutex_);
      if (!uploads_->busy_entries_.insert(BusyKey()).second) {
        return MakeError(absl::StatusCode::kAborted, "ENTRY_BUSY",
                         absl::StrCat(path, ": is being written by another stream"),
                         {{"file", path}});
      }
    }
    holds_entry_ = true;
    WDELTA_ASSIGN_OR_RETURN(staged_, uploads_->deps_.staging->OpenWriter(upload_.id(), entry_));
    return absl::OkStatus();
  }

  absl::Status SyncEntry() {
    if (staged_ == nullptr) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(staged_->Sync(*uploads_->deps_.catalog));
    uploads_->deps_.staging->Remember(upload_.id(), entry_, *staged_);
    return absl::OkStatus();
  }

  void Leave() {
    staged_.reset();
    if (!holds_entry_) return;
    holds_entry_ = false;
    absl::MutexLock lock(&uploads_->mutex_);
    uploads_->busy_entries_.erase(BusyKey());
  }

  Uploads* const uploads_;
  const store::v1::UploadRecord upload_;
  std::map<std::string, uint32_t> index_by_path_;
  uint32_t entry_ = 0;
  bool holds_entry_ = false;
  std::unique_ptr<StagedWriter> staged_;
  uint64_t written_bytes_ = 0;
};

absl::StatusOr<std::unique_ptr<UploadWriter>> Uploads::OpenWriter(const std::string& upload_id) {
  WDELTA_ASSIGN_OR_RETURN(Stored upload, LoadOpen(upload_id));
  absl::MutexLock lock(&mutex_);
  if (finishing_.contains(upload_id)) {
    return MakeError(absl::StatusCode::kAborted, "UPLOAD_FINISHING",
                     absl::StrCat("upload '", upload_id, "' is being finished"));
  }
  ++writers_[upload_id];
  return std::make_unique<Writer>(this, std::move(upload.record));
}

}  // namespace wdelta

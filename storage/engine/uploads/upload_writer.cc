// Writing pieces of an upload.
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/records.h"
#include "storage/engine/uploads/content_finder.h"
#include "storage/engine/uploads/uploads.h"

namespace wdelta {

// Counts as a writer of the upload while it lives.
class Uploads::WriterTurn {
 public:
  // That was counted already.
  WriterTurn(Uploads* uploads, std::string upload_id)
      : uploads_(uploads), upload_id_(std::move(upload_id)) {}
  ~WriterTurn() {
    absl::MutexLock lock(&uploads_->mutex_);
    auto found = uploads_->writers_.find(upload_id_);
    if (--found->second == 0) uploads_->writers_.erase(found);
  }
  WriterTurn(const WriterTurn&) = delete;
  WriterTurn& operator=(const WriterTurn&) = delete;

 private:
  Uploads* const uploads_;
  const std::string upload_id_;
};

class Uploads::Writer final : public UploadWriter {
 public:
  Writer(Uploads* uploads, std::unique_ptr<WriterTurn> turn, store::v1::UploadRecord upload,
         ContentFinder contents)
      : uploads_(uploads),
        turn_(std::move(turn)),
        upload_(std::move(upload)),
        contents_(std::move(contents)) {
    for (int i = 0; i < upload_.entries_size(); ++i) index_by_path_[upload_.entries(i).path()] = i;
  }

  ~Writer() override {
    if (copy_.has_value()) copy_->cursor->Cancel();
    Leave();
  }

  absl::Status Write(const std::string& path, uint64_t offset, absl::string_view data) override {
    WDELTA_RETURN_IF_ERROR(Enter(path));
    WDELTA_RETURN_IF_ERROR(CheckPlace(path, offset, data.size()));
    WDELTA_RETURN_IF_ERROR(CheckDisk(data.size()));
    WDELTA_RETURN_IF_ERROR(Annotate(staged_->Append(data), path));
    return Count(data.size());
  }

  absl::Status StartCopy(const std::string& path, uint64_t offset, const Digest& sha256,
                         uint64_t size_bytes) override {
    WDELTA_RETURN_IF_ERROR(Enter(path));
    WDELTA_RETURN_IF_ERROR(CheckPlace(path, offset, size_bytes));
    WDELTA_ASSIGN_OR_RETURN(const std::optional<ContentFinder::Place> place,
                            contents_.Find(sha256));
    if (!place.has_value()) return ContentNotFound(path, sha256, "not in the store");
    const uint64_t found_bytes =
        place->source->checkpoint().streams[place->stream].tensor.size_bytes;
    if (found_bytes != size_bytes) {
      return MakeError(absl::StatusCode::kInvalidArgument, "WRONG_SIZE",
                       absl::StrCat(path, ": content sha256:", sha256.ToHex(), ": expected ",
                                    found_bytes, " bytes, found ", size_bytes),
                       {{"file", path}});
    }
    copy_.emplace(RunningCopy{
        uploads_->deps_.reader->NewCursor(place->source, {{place->stream, 0, size_bytes}}),
        staged_->End(), sha256, Sha256Hasher(), size_bytes});
    return absl::OkStatus();
  }

  absl::StatusOr<bool> CopyStep(const std::function<bool()>& is_cancelled) override {
    const absl::StatusOr<bool> is_done = AppendStep(is_cancelled);
    if (is_done.ok() && !*is_done) return false;
    RunningCopy copy = *std::exchange(copy_, std::nullopt);
    if (is_done.ok()) {
      WDELTA_RETURN_IF_ERROR(Count(copy.size_bytes));
      return true;
    }
    copy.cursor->Cancel();
    const std::string path = upload_.entries(entry_).path();
    const absl::Status rewound =
        uploads_->deps_.staging->Rewind(upload_.id(), entry_, std::move(copy.begin), *staged_);
    if (!rewound.ok()) Leave();  // what was appended is cut off when the entry is opened again
    if (absl::IsDataLoss(is_done.status())) {
      return ContentNotFound(path, copy.sha256, is_done.status().message());
    }
    return is_done.status();
  }

  absl::StatusOr<uint64_t> Sync() override {
    WDELTA_RETURN_IF_ERROR(SyncEntry());
    return written_bytes_;
  }

 private:
  struct RunningCopy {
    std::shared_ptr<Cursor> cursor;
    StagedWriter::Mark begin;
    Digest sha256;
    Sha256Hasher hasher;
    uint64_t size_bytes = 0;
    uint64_t unflushed_bytes = 0;
  };

  static absl::Status ContentNotFound(const std::string& path, const Digest& sha256,
                                      absl::string_view why) {
    return MakeError(absl::StatusCode::kNotFound, "CONTENT_NOT_FOUND",
                     absl::StrCat(path, ": content sha256:", sha256.ToHex(), ": ", why),
                     {{"file", path}});
  }

  absl::Status CheckPlace(const std::string& path, uint64_t offset, uint64_t added_bytes) const {
    const uint64_t size_bytes = upload_.entries(entry_).size_bytes();
    const uint64_t end = staged_->size_bytes();
    if (offset != end) {
      return MakeError(
          absl::StatusCode::kOutOfRange, "WRONG_OFFSET",
          absl::StrCat(path, ": expected offset ", end, ", found ", offset),
          {{"file", path}, {"expected", absl::StrCat(end)}, {"found", absl::StrCat(offset)}});
    }
    if (added_bytes <= size_bytes - end) return absl::OkStatus();
    return MakeError(absl::StatusCode::kInvalidArgument, "PAST_END",
                     absl::StrCat(path, ": expected at most ", size_bytes - end,
                                  " more bytes, found ", added_bytes),
                     {{"file", path}});
  }

  absl::Status Count(uint64_t added_bytes) {
    written_bytes_ += added_bytes;
    if (staged_->size_bytes() - staged_->durable_bytes() < limits::kSyncIntervalBytes) {
      return absl::OkStatus();
    }
    return SyncStaged();
  }

  absl::Status SyncStaged() {
    const uint64_t before = staged_->durable_bytes();
    WDELTA_RETURN_IF_ERROR(staged_->Sync(*uploads_->deps_.catalog, uploads_->deps_.clock->Now()));
    uploads_->space_.GiveBack(upload_.id(), staged_->durable_bytes() - before);
    return absl::OkStatus();
  }

  // Before that many bytes are written.
  absl::Status CheckDisk(uint64_t added_bytes) {
    unchecked_bytes_ += added_bytes;
    if (unchecked_bytes_ < limits::kDiskCheckBytes) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(uploads_->space_.CheckNotFull(upload_.id()));
    unchecked_bytes_ = 0;
    return absl::OkStatus();
  }

  // True when all of the running copy is there. Its bytes are not recorded as durable before
  // the digest of the whole content has been compared.
  absl::StatusOr<bool> AppendStep(const std::function<bool()>& is_cancelled) {
    for (uint64_t step_bytes = 0; step_bytes < limits::kCopyStepBytes;) {
      if (is_cancelled()) return absl::CancelledError("the copy was cancelled");
      WDELTA_ASSIGN_OR_RETURN(const std::optional<CursorPiece> piece, copy_->cursor->Next());
      if (!piece.has_value()) {
        if (copy_->hasher.Current() == copy_->sha256) return true;
        return absl::DataLossError("the stored copy has another digest");
      }
      const absl::string_view data = piece->data;
      WDELTA_RETURN_IF_ERROR(CheckDisk(data.size()));
      copy_->hasher.Update(data);
      WDELTA_RETURN_IF_ERROR(Annotate(staged_->Append(data), upload_.entries(entry_).path()));
      step_bytes += data.size();
      copy_->unflushed_bytes += data.size();
    }
    if (copy_->unflushed_bytes < limits::kSyncIntervalBytes) return false;
    copy_->unflushed_bytes = 0;
    WDELTA_RETURN_IF_ERROR(staged_->Flush());
    return false;
  }

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
    WDELTA_RETURN_IF_ERROR(SyncStaged());
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
  const std::unique_ptr<WriterTurn> turn_;
  const store::v1::UploadRecord upload_;
  ContentFinder contents_;
  std::map<std::string, uint32_t> index_by_path_;
  uint32_t entry_ = 0;
  bool holds_entry_ = false;
  std::unique_ptr<StagedWriter> staged_;
  std::optional<RunningCopy> copy_;  // into the entry
  uint64_t written_bytes_ = 0;
  uint64_t unchecked_bytes_ = 0;  // since the last look at the disk
};

absl::Status UploadWriter::Copy(const std::string& path, uint64_t offset, const Digest& sha256,
                                uint64_t size_bytes) {
  WDELTA_RETURN_IF_ERROR(StartCopy(path, offset, sha256, size_bytes));
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(const bool is_done, CopyStep([] { return false; }));
    if (is_done) return absl::OkStatus();
  }
}

absl::StatusOr<ContentFinder> Uploads::NewFinder(const store::v1::UploadRecord& upload,
                                                 const NameCheck& check_name) {
  std::vector<std::string> near_ids;
  for (const store::v1::ParentEdge& parent : upload.parents()) {
    if (near_ids.size() < limits::kMaxNearModels) near_ids.push_back(parent.model_id());
  }
  WDELTA_ASSIGN_OR_RETURN(const auto name, ReadRecord<store::v1::NameRecord>(
                                               *deps_.catalog, keys::Name(upload.name())));
  if (name.has_value()) near_ids.push_back(name->message.model_id());
  return ContentFinder(deps_.catalog, deps_.models, deps_.reader, std::move(near_ids), check_name);
}

absl::StatusOr<std::vector<uint32_t>> Uploads::FindContent(const std::string& upload_id,
                                                           const std::vector<Digest>& contents,
                                                           const NameCheck& check_name) {
  if (contents.size() > limits::kMaxContentsPerCall) {
    return MakeError(absl::StatusCode::kInvalidArgument, "TOO_MANY_CONTENTS",
                     absl::StrCat("contents: expected at most ", limits::kMaxContentsPerCall,
                                  ", found ", contents.size()));
  }
  WDELTA_ASSIGN_OR_RETURN(const Stored upload, LoadOpen(upload_id));
  WDELTA_ASSIGN_OR_RETURN(ContentFinder finder, NewFinder(upload.record, check_name));
  std::vector<uint32_t> found;
  for (uint32_t i = 0; i < contents.size(); ++i) {
    WDELTA_ASSIGN_OR_RETURN(const bool is_there, finder.Has(contents[i]));
    if (is_there) found.push_back(i);
  }
  return found;
}

absl::StatusOr<std::unique_ptr<UploadWriter>> Uploads::OpenWriter(const std::string& upload_id,
                                                                  const NameCheck& check_name) {
  WDELTA_RETURN_IF_ERROR(space_.CheckNotFull(upload_id));
  {
    absl::MutexLock lock(&mutex_);
    if (finishing_.contains(upload_id)) {
      return MakeError(absl::StatusCode::kAborted, "UPLOAD_FINISHING",
                       absl::StrCat("upload '", upload_id, "' is being finished"));
    }
    ++writers_[upload_id];
  }
  auto turn = std::make_unique<WriterTurn>(this, upload_id);
  // Only while the turn is held: an upload that was found open stays so.
  WDELTA_ASSIGN_OR_RETURN(Stored upload, LoadOpen(upload_id));
  WDELTA_ASSIGN_OR_RETURN(ContentFinder contents, NewFinder(upload.record, check_name));
  return std::make_unique<Writer>(this, std::move(turn), std::move(upload.record),
                                  std::move(contents));
}

}  // namespace wdelta

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
#include "storage/engine/content_finder.h"
#include "storage/engine/records.h"
#include "storage/engine/uploads.h"

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

  ~Writer() override { Leave(); }

  absl::Status Write(const std::string& path, uint64_t offset, absl::string_view data) override {
    WDELTA_RETURN_IF_ERROR(Enter(path));
    WDELTA_RETURN_IF_ERROR(CheckPlace(path, offset, data.size()));
    WDELTA_RETURN_IF_ERROR(Annotate(staged_->Append(data), path));
    return Count(data.size());
  }

  absl::Status Copy(const std::string& path, uint64_t offset, const Digest& sha256,
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
    absl::Status copied = AppendFrom(path, *place, sha256, size_bytes);
    if (!copied.ok()) {
      Leave();  // what was appended is cut off when the entry is opened again
      if (absl::IsDataLoss(copied)) return ContentNotFound(path, sha256, copied.message());
      return copied;
    }
    return Count(size_bytes);
  }

  absl::StatusOr<uint64_t> Sync() override {
    WDELTA_RETURN_IF_ERROR(SyncEntry());
    return written_bytes_;
  }

 private:
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
    return staged_->Sync(*uploads_->deps_.catalog, uploads_->deps_.clock->Now());
  }

  // Nothing is synced before the digest of the whole content has been compared.
  absl::Status AppendFrom(const std::string& path, const ContentFinder::Place& place,
                          const Digest& sha256, uint64_t size_bytes) {
    const std::shared_ptr<Cursor> cursor =
        uploads_->deps_.reader->NewCursor(place.source, {{place.stream, 0, size_bytes}});
    Sha256Hasher hasher;
    for (;;) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<CursorPiece> piece, cursor->Next());
      if (!piece.has_value()) break;
      hasher.Update(piece->data);
      if (absl::Status status = staged_->Append(piece->data); !status.ok()) {
        cursor->Cancel();
        return Annotate(status, path);
      }
    }
    if (hasher.Current() == sha256) return absl::OkStatus();
    return absl::DataLossError("the stored copy has another digest");
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
  uint64_t written_bytes_ = 0;
};

absl::StatusOr<ContentFinder> Uploads::NewFinder(const store::v1::UploadRecord& upload) {
  std::vector<std::string> near_ids;
  for (const store::v1::ParentEdge& parent : upload.parents()) {
    if (near_ids.size() < limits::kMaxNearModels) near_ids.push_back(parent.model_id());
  }
  WDELTA_ASSIGN_OR_RETURN(const auto name, ReadRecord<store::v1::NameRecord>(
                                               *deps_.catalog, keys::Name(upload.name())));
  if (name.has_value()) near_ids.push_back(name->message.model_id());
  return ContentFinder(deps_.catalog, deps_.models, deps_.reader, std::move(near_ids));
}

absl::StatusOr<std::vector<uint32_t>> Uploads::FindContent(const std::string& upload_id,
                                                           const std::vector<Digest>& contents) {
  if (contents.size() > limits::kMaxContentsPerCall) {
    return MakeError(absl::StatusCode::kInvalidArgument, "TOO_MANY_CONTENTS",
                     absl::StrCat("contents: expected at most ", limits::kMaxContentsPerCall,
                                  ", found ", contents.size()));
  }
  WDELTA_ASSIGN_OR_RETURN(const Stored upload, LoadOpen(upload_id));
  WDELTA_ASSIGN_OR_RETURN(ContentFinder finder, NewFinder(upload.record));
  std::vector<uint32_t> found;
  for (uint32_t i = 0; i < contents.size(); ++i) {
    WDELTA_ASSIGN_OR_RETURN(const bool is_there, finder.Has(contents[i]));
    if (is_there) found.push_back(i);
  }
  return found;
}

absl::StatusOr<std::unique_ptr<UploadWriter>> Uploads::OpenWriter(const std::string& upload_id) {
  WDELTA_RETURN_IF_ERROR(deps_.disk->Reserve(0, absl::StrCat("upload '", upload_id, "'")).status());
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
  WDELTA_ASSIGN_OR_RETURN(ContentFinder contents, NewFinder(upload.record));
  return std::make_unique<Writer>(this, std::move(turn), std::move(upload.record),
                                  std::move(contents));
}

}  // namespace wdelta

#include "storage/engine/content/reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/content/cached_source.h"
#include "storage/engine/content/delta_pieces.h"
#include "storage/engine/content/slice_pieces.h"
#include "storage/engine/content/wdelta_source.h"
#include "storage/engine/records/fidelity.h"
#include "storage/engine/records/model_files.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

// A file's bytes as one stream.
class FileSource final : public ContentSource {
 public:
  FileSource(std::shared_ptr<const RandomAccessFile> file, uint64_t size_bytes)
      : file_(std::move(file)) {
    checkpoint_.files.push_back({"delta", size_bytes, {}, false});
    AppendStreams(0, size_bytes, nullptr, checkpoint_.streams);
  }
  const Checkpoint& checkpoint() const override { return checkpoint_; }
  absl::Status Read(uint32_t, uint64_t offset, size_t size, char* destination) const override {
    return file_->Read(offset, destination, size);
  }
  std::optional<Digest> StreamDigest(uint32_t) const override { return std::nullopt; }

 private:
  const std::shared_ptr<const RandomAccessFile> file_;
  Checkpoint checkpoint_;
};

// A model has one place while staged, and another for each form in which it is stored;
// several may be open.
std::string PlaceOf(const ModelRecord& model) {
  return absl::StrCat(model.id(), model.delta_pieces_size() > 0 ? "/delta/" : "/staged",
                      absl::BytesToHexString(model.delta_digest()));
}

}  // namespace

absl::Status CheckCanBeFetched(const ModelRecord& model) {
  // What is served must never change.
  if (AwaitsLoss(model)) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, "MODEL_NOT_READY",
        absl::StrCat("model '", model.name(), "' may be stored with loss and is not served before ",
                     "that is done: expected state READY, found ",
                     ModelRecord::State_Name(model.state()), model.error().empty() ? "" : ": ",
                     model.error()));
  }
  // An import or a merge has no digest until all of it was decoded and compared.
  if (model.digest().empty()) {
    return MakeError(
        absl::StatusCode::kFailedPrecondition, "MODEL_IMPORTING",
        absl::StrCat("model '", model.name(), "' was ", model.has_merge() ? "merged" : "imported",
                     " and is not verified: expected state READY, found ",
                     ModelRecord::State_Name(model.state()), model.error().empty() ? "" : ": ",
                     model.error()));
  }
  return absl::OkStatus();
}

// Keeps a place in use while it is being opened.
class Reader::Opening {
 public:
  Opening(Reader* reader, std::string key) : reader_(reader), key_(std::move(key)) {
    absl::MutexLock lock(&reader_->mutex_);
    ++reader_->opening_[key_];
  }
  ~Opening() {
    absl::MutexLock lock(&reader_->mutex_);
    const auto count = reader_->opening_.find(key_);
    if (--count->second == 0) reader_->opening_.erase(count);
  }
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;

 private:
  Reader* const reader_;
  const std::string key_;
};

class Reader::HeldFile final : public RandomAccessFile {
 public:
  HeldFile(std::unique_ptr<const Opening> opening, std::shared_ptr<const RandomAccessFile> file)
      : opening_(std::move(opening)), file_(std::move(file)) {}
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    return file_->Read(offset, destination, size);
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return file_->SizeBytes(); }

 private:
  const std::unique_ptr<const Opening> opening_;
  const std::shared_ptr<const RandomAccessFile> file_;
};

absl::StatusOr<HeldDelta> Reader::HoldDelta(const std::string& model_id) {
  std::unique_ptr<const Opening> opening;
  std::string key;
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(std::optional<Model> found, models_->GetById(model_id));
    if (!found.has_value() || found->record.state() == ModelRecord::DELETED) {
      return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                       absl::StrCat("model id:", model_id, " was deleted"));
    }
    ModelRecord& model = found->record;
    if (model.state() != ModelRecord::READY) {
      return MakeError(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_READY",
                       absl::StrCat("model '", model.name(), "': expected state READY, found ",
                                    ModelRecord::State_Name(model.state())));
    }
    // Seen again at the place that is in use from then on: what lies there stays.
    if (opening != nullptr && PlaceOf(model) == key) {
      auto file = std::make_shared<const HeldFile>(
          std::move(opening), OpenDeltaPieces(blobs_, model, BlobCheck::kByStore));
      return HeldDelta{std::move(model), std::move(file)};
    }
    key = PlaceOf(model);
    opening = std::make_unique<const Opening>(this, key);
  }
}

std::shared_ptr<const void> Reader::HoldInUse(const std::string& model_id) {
  return std::make_shared<const Opening>(this, absl::StrCat(model_id, "/held"));
}

absl::StatusOr<ContentSourcePtr> Reader::Open(const ModelRecord& model) {
  return OpenAtDepth(model, 0);
}

absl::StatusOr<ContentSourcePtr> Reader::OpenToServe(const ModelRecord& model) {
  WDELTA_ASSIGN_OR_RETURN(ContentSourcePtr source, Open(model));
  const bool is_stored = source->stored() != nullptr;
  if (is_stored) source = NewCachedSource(std::move(source), &chunks_);
  return NewCountedSource(std::move(source), is_stored ? model.storage_depth() : 0, fetch_stats_);
}

absl::StatusOr<ContentSourcePtr> Reader::OpenAtDepth(const ModelRecord& model, uint32_t depth) {
  constexpr int kAttempts = 8;
  ModelRecord current = model;
  for (int attempt = 1;; ++attempt) {
    const std::string key = PlaceOf(current);
    const Opening opening(this, key);
    // A model may move to another place at any time. From here on the place is in use;
    // if it is the model's still, what lies there stays.
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> found, models_->GetById(model.id()));
    const bool is_gone = !found.has_value() || (found->record.state() == ModelRecord::DELETED &&
                                                !HoldsBytes(found->record));
    if (is_gone) {
      return MakeError(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
                       absl::StrCat("model '", model.name(), "' was deleted"));
    }
    const bool moved = PlaceOf(found->record) != key;
    if (!moved || attempt == kAttempts) {
      absl::StatusOr<ContentSourcePtr> source = OpenPlace(current, key, depth);
      if (source.ok() || attempt == kAttempts) return source;
      // Its storage parent may have changed, and the former one be gone.
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> now, models_->GetById(model.id()));
      const bool same = !now.has_value() || PlaceOf(now->record) == key || !HoldsBytes(now->record);
      if (same) return source;
      current = now->record;
    } else {
      current = found->record;
    }
  }
}

absl::StatusOr<ContentSourcePtr> Reader::OpenPlace(const ModelRecord& model, const std::string& key,
                                                   uint32_t depth) {
  WDELTA_RETURN_IF_ERROR(CheckCanBeFetched(model));
  {
    absl::MutexLock lock(&mutex_);
    const auto found = open_.find(key);
    if (found != open_.end()) {
      if (ContentSourcePtr source = found->second.lock()) return source;
    }
  }
  absl::StatusOr<ContentSourcePtr> source =
      model.delta_pieces_size() > 0 ? OpenReady(model, depth) : staging_->OpenCheckpoint(model);
  if (!source.ok()) return Annotate(source.status(), absl::StrCat("model '", model.name(), "'"));
  absl::MutexLock lock(&mutex_);
  absl::erase_if(open_, [](const auto& entry) { return entry.second.expired(); });
  // Another may have opened it meanwhile. What the map does not name is not seen to be in use.
  std::weak_ptr<const ContentSource>& entry = open_[key];
  if (ContentSourcePtr earlier = entry.lock()) return earlier;
  entry = *source;
  return source;
}

absl::StatusOr<ContentSourcePtr> Reader::OpenReady(const ModelRecord& model, uint32_t depth) {
  ContentSourcePtr parent;
  if (!model.storage_parent_id().empty()) {
    WDELTA_ASSIGN_OR_RETURN(parent, OpenParent(model.storage_parent_id(), depth + 1));
  }
  WDELTA_ASSIGN_OR_RETURN(auto wdelta, WdeltaReader::Open(OpenDelta(model)));
  return WdeltaSource::Open(absl::StrCat("model '", model.name(), "'"), std::move(wdelta),
                            std::move(parent), &codecs_, &chunks_);
}

absl::StatusOr<ContentSourcePtr> Reader::OpenParent(const std::string& parent_id, uint32_t depth) {
  if (depth > limits::kMaxStorageDepth) {
    return absl::DataLossError(
        absl::StrCat("storage chain is deeper than ", limits::kMaxStorageDepth));
  }
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> parent, models_->GetById(parent_id));
  if (!parent.has_value()) {
    return MakeError(absl::StatusCode::kDataLoss, "STORAGE_PARENT_MISSING",
                     absl::StrCat("storage parent id:", parent_id, " is missing"));
  }
  return OpenAtDepth(parent->record, depth);
}

absl::StatusOr<ContentSourcePtr> Reader::OpenWdelta(std::shared_ptr<const RandomAccessFile> file,
                                                    const std::string& storage_parent_id) {
  WDELTA_ASSIGN_OR_RETURN(auto wdelta, WdeltaReader::Open(std::move(file)));
  ContentSourcePtr parent;
  if (!storage_parent_id.empty()) {
    WDELTA_ASSIGN_OR_RETURN(parent, OpenParent(storage_parent_id, 0));
  }
  return WdeltaSource::Open(".wdelta", std::move(wdelta), std::move(parent), &codecs_, &chunks_,
                            /*shares_factors=*/false);
}

std::shared_ptr<const RandomAccessFile> Reader::OpenDelta(const ModelRecord& model) {
  return OpenDeltaPieces(blobs_, model, BlobCheck::kByReader);
}

std::shared_ptr<Cursor> Reader::NewCursor(ContentSourcePtr source,
                                          std::vector<StreamRange> ranges) {
  return Cursor::Create(std::move(source), std::move(ranges), pool_,
                        WindowPieces(pool_->thread_count()), buffers_);
}

std::shared_ptr<Cursor> Reader::NewSliceCursor(ContentSourcePtr source, uint32_t stream,
                                               const TensorSlice& slice, uint64_t offset) {
  if (slice.size_bytes() == offset) return NewCursor(std::move(source), std::vector<StreamRange>());
  if (slice.is_contiguous()) {
    return NewCursor(std::move(source),
                     {{stream, slice.PlaceOf(offset), slice.size_bytes() - offset}});
  }
  const std::shared_ptr<const WdeltaReader> stored = source->stored();
  const uint64_t chunk_bytes = stored == nullptr ? limits::kChunkBytes : stored->file().chunk_bytes;
  auto plan = std::make_unique<const SlicePieces>(stream, slice, offset, chunk_bytes);
  return Cursor::Create(std::move(source), std::move(plan), pool_,
                        WindowPieces(pool_->thread_count()), buffers_);
}

std::shared_ptr<Cursor> Reader::NewFileCursor(std::shared_ptr<const RandomAccessFile> file,
                                              uint64_t size_bytes,
                                              std::unique_ptr<const PiecePlan> plan) {
  return Cursor::Create(std::make_shared<const FileSource>(std::move(file), size_bytes),
                        std::move(plan), pool_, WindowPieces(pool_->thread_count()), buffers_);
}

bool Reader::AnyInUse(const std::string& prefix, const std::string& except_key) {
  const auto counts = [&](const std::string& key) {
    return absl::StartsWith(key, prefix) && key != except_key;
  };
  for (const auto& [key, source] : open_) {
    if (counts(key) && !source.expired()) return true;
  }
  for (const auto& [key, count] : opening_) {
    if (counts(key)) return true;
  }
  return false;
}

bool Reader::InUse(const std::string& model_id) {
  absl::MutexLock lock(&mutex_);
  return AnyInUse(model_id, "");
}

bool Reader::FormerInUse(const ModelRecord& model) {
  absl::MutexLock lock(&mutex_);
  return AnyInUse(absl::StrCat(model.id(), "/delta/"), PlaceOf(model));
}

std::vector<StreamRange> RangesOfFile(const Checkpoint& checkpoint, uint32_t file_index,
                                      uint64_t offset, uint64_t size) {
  std::vector<StreamRange> ranges;
  const uint64_t end = offset + size;
  for (uint32_t i = 0; i < checkpoint.streams.size(); ++i) {
    const StreamInfo& stream = checkpoint.streams[i];
    if (stream.file_index != file_index) continue;
    const uint64_t begin = std::max(offset, stream.tensor.offset_bytes);
    const uint64_t stop = std::min(end, stream.tensor.offset_bytes + stream.tensor.size_bytes);
    if (begin < stop) ranges.push_back({i, begin - stream.tensor.offset_bytes, stop - begin});
  }
  return ranges;
}

}  // namespace wdelta

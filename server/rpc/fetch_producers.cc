#include "server/rpc/fetch_producers.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/shell_pattern.h"
#include "storage/base/status_macros.h"
#include "storage/engine/names.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using Progress = Cursor::Progress;

void FillPiece(CursorPiece piece, uint64_t offset, v1::Piece* out) {
  out->set_offset(offset);
  out->set_crc32c(piece.crc32c);
  out->set_data(std::move(piece.data));
}

// Header, the pieces of one cursor, trailer.
class OneFile final : public FileProducer {
 public:
  OneFile(v1::FileHeader header, std::string sha256_hex, std::shared_ptr<Cursor> cursor)
      : header_(std::move(header)),
        sha256_hex_(std::move(sha256_hex)),
        offset_(header_.offset()),
        cursor_(std::move(cursor)) {}

  void SetWaker(std::function<void()> waker) override { cursor_->SetWaker(std::move(waker)); }
  void Cancel() override { cursor_->Cancel(); }

  absl::StatusOr<Progress> Next(v1::FetchFileResponse& message) override {
    if (next_ == Part::kHeader) {
      *message.mutable_header() = header_;
      next_ = Part::kPieces;
      return Progress::kPiece;
    }
    if (next_ == Part::kEnd) return Progress::kEnd;
    WDELTA_ASSIGN_OR_RETURN(Cursor::Step step, cursor_->TryNext());
    if (step.progress == Progress::kWait) return Progress::kWait;
    if (step.progress == Progress::kPiece) {
      const uint64_t size_bytes = step.piece.data.size();
      FillPiece(std::move(step.piece), offset_, message.mutable_piece());
      offset_ += size_bytes;
      return Progress::kPiece;
    }
    message.mutable_trailer()->set_sent_bytes(offset_ - header_.offset());
    message.mutable_trailer()->set_sha256(sha256_hex_);
    next_ = Part::kEnd;
    return Progress::kPiece;
  }

 private:
  enum class Part { kHeader, kPieces, kEnd };
  const v1::FileHeader header_;
  const std::string sha256_hex_;  // empty when only a part is sent
  uint64_t offset_;               // of the next piece
  const std::shared_ptr<Cursor> cursor_;
  Part next_ = Part::kHeader;
};

// Header, pieces and trailer of each tensor. Every tensor has a cursor of its own;
// those of the next few are opened ahead, so that small tensors are decoded in
// parallel too.
class ManyTensors final : public TensorsProducer {
 public:
  ManyTensors(Reader* reader, ContentSourcePtr source, std::vector<uint32_t> streams)
      : reader_(*reader), source_(std::move(source)), streams_(std::move(streams)) {}

  void SetWaker(std::function<void()> waker) override { waker_ = std::move(waker); }

  void Cancel() override {
    for (const Ahead& ahead : ahead_) ahead.cursor->Cancel();
  }

  absl::StatusOr<Progress> Next(v1::FetchTensorsResponse& message) override {
    OpenAhead();
    if (ahead_.empty()) return Progress::kEnd;
    Ahead& current = ahead_.front();
    if (!header_sent_) {
      FillHeader(current.stream, message.mutable_header());
      header_sent_ = true;
      sent_bytes_ = 0;
      hasher_.reset();
      if (!source_->StreamDigest(current.stream).has_value()) hasher_.emplace();
      return Progress::kPiece;
    }
    WDELTA_ASSIGN_OR_RETURN(Cursor::Step step, current.cursor->TryNext());
    if (step.progress == Progress::kWait) return Progress::kWait;
    if (step.progress == Progress::kPiece) {
      if (hasher_.has_value()) hasher_->Update(step.piece.data);
      const uint64_t size_bytes = step.piece.data.size();
      FillPiece(std::move(step.piece), sent_bytes_, message.mutable_piece());
      sent_bytes_ += size_bytes;
      return Progress::kPiece;
    }
    const Digest digest =
        hasher_.has_value() ? hasher_->Current() : *source_->StreamDigest(current.stream);
    message.mutable_trailer()->set_sent_bytes(sent_bytes_);
    message.mutable_trailer()->set_sha256(digest.ToHex());
    header_sent_ = false;
    ahead_.pop_front();
    if (!ahead_.empty()) ahead_bytes_ -= SizeOf(ahead_.front().stream);
    return Progress::kPiece;
  }

 private:
  struct Ahead {
    uint32_t stream = 0;
    std::shared_ptr<Cursor> cursor;
  };

  uint64_t SizeOf(uint32_t stream) const {
    return source_->checkpoint().streams[stream].tensor.size_bytes;
  }

  // `ahead_bytes_` counts the tensors behind the current one. The last one opened may
  // be of any size: its window bounds what is decoded of it.
  void OpenAhead() {
    while (next_stream_ < streams_.size() && ahead_.size() < limits::kMaxFetchAheadTensors &&
           (ahead_.size() < 2 || ahead_bytes_ < limits::kFetchAheadBytes)) {
      const uint32_t stream = streams_[next_stream_++];
      const uint64_t size_bytes = SizeOf(stream);
      if (!ahead_.empty()) ahead_bytes_ += size_bytes;
      ahead_.push_back({stream, reader_.NewCursor(source_, {{stream, 0, size_bytes}})});
      ahead_.back().cursor->SetWaker(waker_);
    }
  }

  void FillHeader(uint32_t stream, v1::TensorHeader* header) const {
    const Checkpoint& checkpoint = source_->checkpoint();
    const StreamInfo& info = checkpoint.streams[stream];
    header->set_name(info.tensor.name);
    header->set_dtype(std::string(DTypeName(info.tensor.dtype)));
    header->mutable_shape()->Add(info.tensor.shape.begin(), info.tensor.shape.end());
    header->set_file(checkpoint.files[info.file_index].path);
    header->set_size_bytes(info.tensor.size_bytes);
  }

  Reader& reader_;
  const ContentSourcePtr source_;
  const std::vector<uint32_t> streams_;
  std::function<void()> waker_;
  size_t next_stream_ = 0;   // in streams_
  std::deque<Ahead> ahead_;  // the current tensor first
  uint64_t ahead_bytes_ = 0;
  bool header_sent_ = false;            // of the current tensor
  uint64_t sent_bytes_ = 0;             // of the current tensor
  std::optional<Sha256Hasher> hasher_;  // when the digest is not known beforehand
};

absl::Status CheckPatterns(const v1::FetchTensorsRequest& request) {
  const auto bad = [](absl::string_view why) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_PATTERN",
                     absl::StrCat("name_patterns: ", why));
  };
  if (static_cast<uint64_t>(request.name_patterns_size()) > limits::kMaxTensorPatterns) {
    return bad(absl::StrCat("expected at most ", limits::kMaxTensorPatterns, ", found ",
                            request.name_patterns_size()));
  }
  for (const std::string& pattern : request.name_patterns()) {
    if (pattern.empty()) return bad("expected a pattern, found an empty one");
    if (pattern.size() > limits::kMaxTensorPatternBytes) {
      return bad(absl::StrCat("expected at most ", limits::kMaxTensorPatternBytes, " bytes, found ",
                              pattern.size()));
    }
  }
  return absl::OkStatus();
}

bool AnyMatches(const v1::FetchTensorsRequest& request, const std::string& name) {
  if (request.name_patterns().empty()) return true;
  return std::any_of(request.name_patterns().begin(), request.name_patterns().end(),
                     [&](const std::string& pattern) { return MatchesPattern(pattern, name); });
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileProducer>> OpenFile(ModelStore& store,
                                                       const v1::FetchFileRequest& request) {
  WDELTA_ASSIGN_OR_RETURN(const Model model, store.models().ResolveToFetch(request.model()));
  WDELTA_ASSIGN_OR_RETURN(ContentSourcePtr source, store.reader().OpenToServe(model.record));
  const Checkpoint& checkpoint = source->checkpoint();
  const auto file = std::find_if(checkpoint.files.begin(), checkpoint.files.end(),
                                 [&](const auto& f) { return f.path == request.path(); });
  if (file == checkpoint.files.end()) {
    return MakeError(absl::StatusCode::kNotFound, "FILE_NOT_FOUND",
                     absl::StrCat("model '", request.model(), "' has no file '",
                                  absl::CHexEscape(request.path()), "'"),
                     {{"path", request.path()}});
  }
  if (request.offset() > file->size_bytes) {
    return MakeError(absl::StatusCode::kOutOfRange, "OFFSET_PAST_END",
                     absl::StrCat(file->path, ": expected an offset of at most ", file->size_bytes,
                                  ", found ", request.offset()));
  }
  const uint64_t rest = file->size_bytes - request.offset();
  v1::FileHeader header;
  header.set_path(file->path);
  header.set_size_bytes(file->size_bytes);
  header.set_offset(request.offset());
  header.set_length(request.length() == 0 ? rest : std::min(request.length(), rest));
  const bool is_whole = header.length() == file->size_bytes;
  std::vector<StreamRange> ranges =
      RangesOfFile(checkpoint, static_cast<uint32_t>(file - checkpoint.files.begin()),
                   header.offset(), header.length());
  std::string sha256_hex = is_whole ? file->sha256.ToHex() : "";
  auto cursor = store.reader().NewCursor(std::move(source), std::move(ranges));
  return std::make_unique<OneFile>(std::move(header), std::move(sha256_hex), std::move(cursor));
}

absl::StatusOr<std::unique_ptr<FileProducer>> OpenDelta(ModelStore& store,
                                                        const v1::FetchDeltaRequest& request) {
  WDELTA_ASSIGN_OR_RETURN(const Model model, store.models().Resolve(request.model()));
  WDELTA_ASSIGN_OR_RETURN(HeldDelta delta, store.reader().HoldDelta(model.record.id()));
  WDELTA_ASSIGN_OR_RETURN(const uint64_t size_bytes, delta.file->SizeBytes());
  v1::FileHeader header;
  header.set_path(absl::StrCat(delta.model.id(), ".wdelta"));
  header.set_size_bytes(size_bytes);
  header.set_length(size_bytes);
  return std::make_unique<OneFile>(std::move(header),
                                   absl::BytesToHexString(delta.model.delta_digest()),
                                   store.reader().NewFileCursor(std::move(delta.file), size_bytes));
}

absl::StatusOr<std::unique_ptr<TensorsProducer>> OpenTensors(
    ModelStore& store, const v1::FetchTensorsRequest& request) {
  WDELTA_RETURN_IF_ERROR(CheckPatterns(request));
  WDELTA_ASSIGN_OR_RETURN(const Model model, store.models().ResolveToFetch(request.model()));
  WDELTA_ASSIGN_OR_RETURN(ContentSourcePtr source, store.reader().OpenToServe(model.record));
  const std::vector<StreamInfo>& all = source->checkpoint().streams;
  std::vector<uint32_t> streams;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].kind == StreamKind::kTensor && AnyMatches(request, all[i].tensor.name)) {
      streams.push_back(static_cast<uint32_t>(i));
    }
  }
  if (streams.empty()) {
    return MakeError(absl::StatusCode::kNotFound, "NO_TENSOR_MATCHES",
                     absl::StrCat("model '", request.model(), "' has no tensor that matches"));
  }
  return std::make_unique<ManyTensors>(&store.reader(), std::move(source), std::move(streams));
}

}  // namespace wdelta

#include "server/rpc/fetch_producers.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

using Progress = Cursor::Progress;

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

}  // namespace wdelta

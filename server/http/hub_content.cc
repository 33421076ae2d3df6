#include "server/http/hub_content.h"

#include <algorithm>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {

absl::Status ReadObject(const HubObject& object, const TakeBytes& take) {
  WDELTA_ASSIGN_OR_RETURN(const std::unique_ptr<RandomAccessFile> file, object.Open());
  std::string piece;
  for (uint64_t offset = 0; offset < object.size_bytes(); offset += piece.size()) {
    piece.resize(std::min(limits::kFetchPieceBytes, object.size_bytes() - offset));
    WDELTA_RETURN_IF_ERROR(file->Read(offset, piece.data(), piece.size()));
    WDELTA_RETURN_IF_ERROR(take(piece));
  }
  return absl::OkStatus();
}

absl::Status VersionReader::Read(const std::string& path, const TakeBytes& take) {
  if (source_ == nullptr) WDELTA_RETURN_IF_ERROR(Open());
  const auto found = index_by_path_.find(path);
  if (found == index_by_path_.end()) {
    return absl::DataLossError(absl::StrCat(path, ": is not stored"));
  }
  const Checkpoint& checkpoint = source_->checkpoint();
  const uint64_t size_bytes = checkpoint.files[found->second].size_bytes;
  const std::shared_ptr<Cursor> cursor =
      reader_.NewCursor(source_, RangesOfFile(checkpoint, found->second, 0, size_bytes));
  const auto cancel = absl::MakeCleanup([&] { cursor->Cancel(); });
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<CursorPiece> piece, cursor->Next());
    if (!piece.has_value()) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(take(piece->data));
  }
}

absl::Status VersionReader::Open() {
  WDELTA_ASSIGN_OR_RETURN(source_, reader_.Open(version_->record));
  for (uint32_t i = 0; i < source_->checkpoint().files.size(); ++i) {
    index_by_path_[source_->checkpoint().files[i].path] = i;
  }
  return absl::OkStatus();
}

}  // namespace wdelta

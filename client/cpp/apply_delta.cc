#include "client/cpp/apply_delta.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/part_file.h"
#include "client/cpp/piece_checks.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/engine/content/cursor.h"
#include "storage/engine/content/wdelta_source.h"
#include "storage/wdelta/wdelta_reader.h"

namespace wdelta {
namespace {

constexpr int kMaxThreads = 16;

absl::Status CheckFiles(const Checkpoint& checkpoint, const v1::Model& model) {
  bool is_same = checkpoint.files.size() == static_cast<size_t>(model.files_size());
  for (const v1::File& file : model.files()) {
    is_same = is_same && std::any_of(checkpoint.files.begin(), checkpoint.files.end(),
                                     [&](const CheckpointFile& found) {
                                       return found.path == file.path() &&
                                              found.size_bytes == file.size_bytes() &&
                                              found.sha256.ToHex() == file.sha256();
                                     });
  }
  if (is_same) return absl::OkStatus();
  return MakeError(
      absl::StatusCode::kDataLoss, "WRONG_MODEL",
      absl::StrCat("the deltas lead to other files than those of model ", model.name()));
}

}  // namespace

int DeltaApplier::ThreadCount() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxThreads);
}

absl::Status DeltaApplier::Open(const std::vector<DeltaFile>& deltas, ContentSourcePtr held,
                                const v1::Model& model) {
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  source_ = std::move(held);
  for (const DeltaFile& delta : deltas) {
    const std::string name = absl::StrCat("delta to model id:", delta.model_id);
    WDELTA_ASSIGN_OR_RETURN(std::shared_ptr<const RandomAccessFile> file,
                            files->OpenForRead(delta.file_name));
    absl::StatusOr<std::shared_ptr<const WdeltaReader>> reader =
        WdeltaReader::Open(std::move(file));
    if (!reader.ok()) return Annotate(reader.status(), name);
    WDELTA_ASSIGN_OR_RETURN(
        source_, WdeltaSource::Open(name, *std::move(reader), source_, &codecs_, &parent_chunks_));
  }
  return CheckFiles(source_->checkpoint(), model);
}

absl::Status DeltaApplier::Write(const v1::File& file, const std::string& destination) {
  const std::vector<CheckpointFile>& files = source_->checkpoint().files;
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&](const CheckpointFile& f) { return f.path == file.path(); });
  const auto file_index = static_cast<uint32_t>(found - files.begin());
  // Apart from what a fetch of the file itself may have left.
  WDELTA_ASSIGN_OR_RETURN(PartFile part, PartFile::Create(destination));
  std::vector<StreamRange> ranges;
  const std::vector<StreamInfo>& streams = source_->checkpoint().streams;
  for (uint32_t i = 0; i < streams.size(); ++i) {
    if (streams[i].file_index == file_index) ranges.push_back({i, 0, streams[i].tensor.size_bytes});
  }
  const auto cursor = Cursor::Create(source_, std::move(ranges), &pool_,
                                     WindowPieces(pool_.thread_count()), buffers_);
  Sha256Hasher hasher;
  while (true) {
    absl::StatusOr<std::optional<CursorPiece>> piece = cursor->Next();
    if (!piece.ok()) return Annotate(piece.status(), file.path());
    if (!piece->has_value()) break;
    hasher.Update((*piece)->data);
    const absl::Status appended = part.Append((*piece)->data);
    if (!appended.ok()) {
      cursor->Cancel();
      return appended;
    }
    buffers_->Give(std::move((*piece)->data));
  }
  const PieceChecker whole(file.path(), 0, file.size_bytes());
  WDELTA_RETURN_IF_ERROR(whole.CheckSha256(file.sha256(), hasher.Current().ToHex()));
  return part.Commit();
}

}  // namespace wdelta

#include "client/cpp/held_folder.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/local_files.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/checkpoint.h"
#include "storage/tensor/safetensors.h"

namespace wdelta {
namespace {

class HeldFolder final : public ContentSource {
 public:
  HeldFolder(Checkpoint checkpoint, std::vector<std::unique_ptr<RandomAccessFile>> files)
      : checkpoint_(std::move(checkpoint)), files_(std::move(files)) {}

  const Checkpoint& checkpoint() const override { return checkpoint_; }
  absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                    char* destination) const override {
    const StreamInfo& info = checkpoint_.streams[stream];
    return LocalFileError(Annotate(
        files_[info.file_index]->Read(info.tensor.offset_bytes + offset, destination, size),
        checkpoint_.files[info.file_index].path));
  }
  std::optional<Digest> StreamDigest(uint32_t) const override { return std::nullopt; }

 private:
  const Checkpoint checkpoint_;
  const std::vector<std::unique_ptr<RandomAccessFile>> files_;  // by file index
};

absl::Status HeldChanged(const std::string& folder, const std::string& path,
                         absl::string_view expected, absl::string_view found) {
  return MakeError(absl::StatusCode::kFailedPrecondition, "HELD_CHANGED",
                   absl::StrCat(folder, "/", path, ": expected ", expected,
                                ", as the held model has ", "it, found ", found),
                   {{"file", path}, {"folder", folder}});
}

absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenFile(FileSystem& files,
                                                           const std::string& folder,
                                                           const CheckpointFile& file) {
  const std::string size = absl::StrCat(file.size_bytes, " bytes");
  auto opened = files.OpenForRead(absl::StrCat(folder, "/", file.path));
  if (absl::IsNotFound(opened.status())) return HeldChanged(folder, file.path, size, "no file");
  if (!opened.ok()) return LocalFileError(opened.status());
  const absl::StatusOr<uint64_t> found_bytes = (*opened)->SizeBytes();
  WDELTA_RETURN_IF_ERROR(LocalFileError(found_bytes.status()));
  if (*found_bytes == file.size_bytes) return opened;
  return HeldChanged(folder, file.path, size, absl::StrCat(*found_bytes));
}

}  // namespace

absl::StatusOr<ContentSourcePtr> OpenHeldFolder(const v1::Model& model, const std::string& folder) {
  Checkpoint checkpoint;
  for (const v1::File& file : model.files()) {
    WDELTA_RETURN_IF_ERROR(ValidateCheckpointPath(file.path()));
    CheckpointFile& added = checkpoint.files.emplace_back();
    added.path = file.path();
    added.size_bytes = file.size_bytes();
    added.is_safetensors = file.is_safetensors();
    WDELTA_ASSIGN_OR_RETURN(added.sha256, Digest::FromHex(file.sha256()));
  }
  // The order of streams is part of what a delta refers to.
  std::sort(checkpoint.files.begin(), checkpoint.files.end(),
            [](const CheckpointFile& a, const CheckpointFile& b) { return a.path < b.path; });
  const std::unique_ptr<FileSystem> file_system = NewPosixFileSystem();
  std::vector<std::unique_ptr<RandomAccessFile>> files;
  for (uint32_t i = 0; i < checkpoint.files.size(); ++i) {
    const CheckpointFile& file = checkpoint.files[i];
    WDELTA_ASSIGN_OR_RETURN(auto opened, OpenFile(*file_system, folder, file));
    if (file.is_safetensors) {
      const absl::StatusOr<SafetensorsLayout> layout = ReadSafetensorsLayout(*opened);
      if (!layout.ok()) {
        return HeldChanged(folder, file.path, "a safetensors file", layout.status().message());
      }
      AppendStreams(i, file.size_bytes, &*layout, checkpoint.streams);
    } else {
      AppendStreams(i, file.size_bytes, nullptr, checkpoint.streams);
    }
    files.push_back(std::move(opened));
  }
  return std::make_shared<const HeldFolder>(std::move(checkpoint), std::move(files));
}

absl::Status VerifyHeldFolder(const ContentSource& source, const std::string& folder,
                              const std::function<absl::Status()>& check_alive) {
  const Checkpoint& checkpoint = source.checkpoint();
  std::string buffer;
  Sha256Hasher hasher;
  for (uint32_t i = 0; i < checkpoint.streams.size(); ++i) {
    const StreamInfo& stream = checkpoint.streams[i];
    for (uint64_t offset = 0; offset < stream.tensor.size_bytes; offset += buffer.size()) {
      WDELTA_RETURN_IF_ERROR(check_alive());
      buffer.resize(std::min(limits::kFetchPieceBytes, stream.tensor.size_bytes - offset));
      WDELTA_RETURN_IF_ERROR(source.Read(i, offset, buffer.size(), buffer.data()));
      hasher.Update(buffer);
    }
    const bool is_last = i + 1 == checkpoint.streams.size() ||
                         checkpoint.streams[i + 1].file_index != stream.file_index;
    if (!is_last) continue;
    const CheckpointFile& file = checkpoint.files[stream.file_index];
    const Digest found = std::exchange(hasher, Sha256Hasher()).Current();
    if (found == file.sha256) continue;
    return HeldChanged(folder, file.path, absl::StrCat("SHA-256 ", file.sha256.ToHex()),
                       found.ToHex());
  }
  return absl::OkStatus();
}

}  // namespace wdelta

#include "tests/bench/folder_source.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/storage_plan.h"
#include "storage/tensor/safetensors.h"

namespace wdelta::bench {
namespace {

constexpr size_t kHashPieceBytes = 1 << 20;

absl::StatusOr<Digest> DigestOf(const RandomAccessFile& file, uint64_t size_bytes) {
  Sha256Hasher hasher;
  std::string piece;
  for (uint64_t at = 0; at < size_bytes; at += piece.size()) {
    piece.resize(std::min<uint64_t>(kHashPieceBytes, size_bytes - at));
    WDELTA_RETURN_IF_ERROR(file.Read(at, piece.data(), piece.size()));
    hasher.Update(piece);
  }
  return hasher.Current();
}

class FolderSource final : public ContentSource {
 public:
  absl::Status Open(const std::string& folder, Digests digests) {
    const std::unique_ptr<FileSystem> file_system = NewPosixFileSystem();
    WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> names, file_system->List(folder));
    for (const std::string& name : names) {
      WDELTA_ASSIGN_OR_RETURN(auto file, file_system->OpenForRead(absl::StrCat(folder, "/", name)));
      CheckpointFile entry;
      entry.path = name;
      entry.is_safetensors = IsSafetensorsPath(name);
      WDELTA_ASSIGN_OR_RETURN(entry.size_bytes, file->SizeBytes());
      if (digests == Digests::kTaken) {
        WDELTA_ASSIGN_OR_RETURN(entry.sha256, DigestOf(*file, entry.size_bytes));
      }
      SafetensorsLayout layout;
      if (entry.is_safetensors) {
        WDELTA_ASSIGN_OR_RETURN(layout, ReadSafetensorsLayout(*file));
      }
      AppendStreams(static_cast<uint32_t>(files_.size()), entry.size_bytes,
                    entry.is_safetensors ? &layout : nullptr, checkpoint_.streams);
      checkpoint_.files.push_back(std::move(entry));
      files_.push_back(std::move(file));
    }
    return absl::OkStatus();
  }

  const Checkpoint& checkpoint() const override { return checkpoint_; }

  absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                    char* destination) const override {
    const StreamInfo& info = checkpoint_.streams[stream];
    return files_[info.file_index]->Read(info.tensor.offset_bytes + offset, destination, size);
  }

  std::optional<Digest> StreamDigest(uint32_t) const override { return std::nullopt; }

 private:
  std::vector<std::unique_ptr<RandomAccessFile>> files_;
  Checkpoint checkpoint_;
};

}  // namespace

absl::StatusOr<ContentSourcePtr> OpenFolder(const std::string& folder, Digests digests) {
  auto source = std::make_shared<FolderSource>();
  WDELTA_RETURN_IF_ERROR(source->Open(folder, digests));
  return ContentSourcePtr(std::move(source));
}

absl::StatusOr<uint64_t> SaveDelta(const std::string& parent_folder,
                                   const std::string& target_folder, const std::string& path,
                                   ThreadPool* pool, Effort effort) {
  WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr parent, OpenFolder(parent_folder));
  WDELTA_ASSIGN_OR_RETURN(const ContentSourcePtr target, OpenFolder(target_folder));
  return SaveDelta(parent, target, path, pool, effort);
}

absl::StatusOr<uint64_t> SaveDelta(const ContentSourcePtr& parent, const ContentSourcePtr& target,
                                   const std::string& path, ThreadPool* pool, Effort effort) {
  DeltaEncoderInput input;
  input.effort = effort;
  input.parent = parent;
  input.target = target;
  input.parent_streams = MatchStreams(input.target->checkpoint(), input.parent->checkpoint());
  input.advance = [](uint64_t) { return absl::OkStatus(); };
  const std::unique_ptr<FileSystem> file_system = NewPosixFileSystem();
  WDELTA_ASSIGN_OR_RETURN(const auto out, file_system->OpenForAppend(path, 0));
  WDELTA_ASSIGN_OR_RETURN(
      const WdeltaFile file,
      EncodeDelta(input, pool, [&](absl::string_view bytes) { return out->Append(bytes); }));
  return file.file_bytes;
}

}  // namespace wdelta::bench

// The files and bytes that a model record names.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/checkpoint.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// False for what is left of a deleted model once its bytes are given up.
inline bool HoldsBytes(const store::v1::ModelRecord& model) {
  return model.delta_pieces_size() > 0 || !model.staging_id().empty();
}

// Whether its bytes can be fetched. An import, a merge, and what is stored with loss have no
// digest until that is done.
inline bool CanBeFetched(const store::v1::ModelRecord& model) {
  return !model.digest().empty() && model.state() != store::v1::ModelRecord::DELETED;
}

// DATA_LOSS when a digest in the record is not one.
inline absl::StatusOr<std::vector<CheckpointFile>> FilesOfRecord(
    const store::v1::ModelRecord& model) {
  std::vector<CheckpointFile> files;
  files.reserve(model.files_size());
  for (const store::v1::FileRecord& record : model.files()) {
    CheckpointFile file{record.path(), record.size_bytes(), {}, record.is_safetensors()};
    absl::StatusOr<Digest> digest = Digest::FromBytes(record.sha256());
    if (!digest.ok()) return absl::DataLossError("model record: " + record.path() + ": bad digest");
    file.sha256 = *digest;
    files.push_back(std::move(file));
  }
  return files;
}

inline void SetFiles(const std::vector<CheckpointFile>& files, store::v1::ModelRecord& model) {
  model.clear_files();
  for (const CheckpointFile& file : files) {
    store::v1::FileRecord* record = model.add_files();
    record->set_path(file.path);
    record->set_size_bytes(file.size_bytes);
    record->set_sha256(file.sha256.ToBytes());
    record->set_is_safetensors(file.is_safetensors);
  }
}

}  // namespace wdelta

// The `.wdelta` of a model whose tensors are those of another one that is stored, and whose side
// files may be others.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/digest.h"
#include "storage/base/file_system.h"
#include "storage/engine/content/delta_pieces.h"
#include "storage/wdelta/wdelta_reader.h"

namespace wdelta {

// A file of the new model.
struct RevisedFile {
  std::string path;
  Digest sha256;
  uint64_t size_bytes = 0;
  // Index of a file of the stored model, taken as it is; nullopt: a side file.
  std::optional<uint32_t> kept;
  // Of a side file. Called once when its bytes are read; one file is open at a time, however many
  // there are.
  std::function<absl::StatusOr<std::shared_ptr<const RandomAccessFile>>()> open_content;
};

// Takes what is kept as it is coded, with what the stored file says of its fidelity, and codes the
// rest without a parent. What lost nothing is said to be of the new files. The new file is coded
// against the same parent as the stored one, and its large payloads are the same pieces. `files`
// are in order of path. At most one chunk is in memory. DATA_LOSS (`DIGEST_MISMATCH`) names a side
// file whose bytes are not those of its digest; otherwise errors of `open_content`, WdeltaReader,
// WdeltaWriter and DeltaPieceWriter.
absl::StatusOr<WdeltaFile> WriteRevisedDelta(const WdeltaReader& stored,
                                             const std::vector<RevisedFile>& files,
                                             DeltaPieceWriter& pieces);

// What of it the blob store may not have yet, where the stored file is cut into pieces as
// DeltaPieceWriter does it.
uint64_t NewBytesOf(const WdeltaFile& stored, const std::vector<RevisedFile>& files);

}  // namespace wdelta

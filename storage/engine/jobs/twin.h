// A stored model of equal content, whose stored form a new one can share.
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/content/delta_pieces.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/models/models.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// The oldest READY model with the digest of `model`, stored without loss and no deeper
// than `max_chain_depth`, among the first kMaxCandidatesOfAKind of that digest.
absl::StatusOr<std::optional<Model>> FindTwin(Catalog& catalog, Models& models,
                                              const store::v1::ModelRecord& model,
                                              uint32_t max_chain_depth);

// Appends the twin's `.wdelta`, piece by piece, so that the pieces are the same blobs.
// Errors: as RandomAccessFile::Read, DATA_LOSS where the record is damaged.
absl::Status CopyDelta(Reader& reader, const store::v1::ModelRecord& twin,
                       DeltaPieceWriter& pieces);

}  // namespace wdelta

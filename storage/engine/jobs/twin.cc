#include "storage/engine/jobs/twin.h"

#include <string>

#include "storage/base/digest.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"

namespace wdelta {

using store::v1::ModelRecord;

absl::StatusOr<std::optional<Model>> FindTwin(Catalog& catalog, Models& models,
                                              const ModelRecord& model, uint32_t max_chain_depth) {
  if (model.digest().empty()) return std::optional<Model>();
  WDELTA_ASSIGN_OR_RETURN(const Digest digest, Digest::FromBytes(model.digest()));
  const std::string prefix = keys::DigestOf(digest.ToHex(), "");
  WDELTA_ASSIGN_OR_RETURN(
      const ScanPage page,
      catalog.Scan({prefix, PrefixEnd(prefix), limits::kMaxCandidatesOfAKind, false}));
  for (const Record& record : page.records) {
    WDELTA_ASSIGN_OR_RETURN(std::optional<Model> twin,
                            models.GetById(record.key.substr(prefix.size())));
    if (!twin.has_value() || twin->record.id() == model.id()) continue;
    const bool is_fit = twin->record.state() == ModelRecord::READY && !twin->record.has_outcome() &&
                        twin->record.storage_depth() <= max_chain_depth;
    if (is_fit) return twin;
  }
  return std::optional<Model>();
}

absl::Status CopyDelta(Reader& reader, const ModelRecord& twin, DeltaPieceWriter& pieces) {
  const auto file = reader.OpenDelta(twin);
  uint64_t offset = 0;
  for (const store::v1::DeltaPiece& piece : twin.delta_pieces()) {
    if (piece.size_bytes() > limits::kMaxBlobBytes) {
      return absl::DataLossError("model record: a piece is larger than any blob");
    }
    std::string bytes(piece.size_bytes(), '\0');
    WDELTA_RETURN_IF_ERROR(file->Read(offset, bytes.data(), bytes.size()));
    WDELTA_RETURN_IF_ERROR(pieces.AppendPiece(std::move(bytes)));
    offset += piece.size_bytes();
  }
  return pieces.Finish();
}

}  // namespace wdelta

#include "storage/engine/content/delta_pieces.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

class DeltaPieceFile final : public RandomAccessFile {
 public:
  DeltaPieceFile(BlobStore* blobs, const store::v1::ModelRecord& model, BlobCheck check)
      : blobs_(blobs), check_(check), model_id_(model.id()) {
    for (const store::v1::DeltaPiece& piece : model.delta_pieces()) {
      pieces_.push_back({size_bytes_, piece.size_bytes(), piece.blob_digest()});
      size_bytes_ += piece.size_bytes();
    }
  }

  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    if (offset > size_bytes_ || size > size_bytes_ - offset) {
      return absl::DataLossError(absl::StrCat("delta of model ", model_id_, ": expected ", size,
                                              " bytes at offset ", offset, ", the file has ",
                                              size_bytes_));
    }
    auto piece = std::upper_bound(
        pieces_.begin(), pieces_.end(), offset,
        [](uint64_t position, const Piece& candidate) { return position < candidate.begin; });
    --piece;
    for (; size > 0; ++piece) {
      const uint64_t within = offset - piece->begin;
      const size_t wanted = std::min<uint64_t>(size, piece->size - within);
      WDELTA_RETURN_IF_ERROR(ReadPiece(*piece, within, wanted, destination));
      offset += wanted;
      destination += wanted;
      size -= wanted;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> SizeBytes() const override { return size_bytes_; }

 private:
  struct Piece {
    uint64_t begin = 0;
    uint64_t size = 0;
    std::string digest;
  };

  absl::Status ReadPiece(const Piece& piece, uint64_t offset, size_t size,
                         char* destination) const {
    WDELTA_ASSIGN_OR_RETURN(const Digest digest, Digest::FromBytes(piece.digest));
    const absl::Status read = ReadBlob(digest, offset, size, destination);
    if (!absl::IsNotFound(read) && !absl::IsOutOfRange(read)) return read;
    return MakeError(absl::StatusCode::kDataLoss, "BLOB_DAMAGED",
                     absl::StrCat("delta of model ", model_id_, ", piece ", digest.ToHex(), ": ",
                                  read.message()));
  }

  absl::Status ReadBlob(const Digest& digest, uint64_t offset, size_t size,
                        char* destination) const {
    if (check_ == BlobCheck::kByReader) {
      return blobs_->ReadUnverified(digest, offset, size, destination);
    }
    WDELTA_ASSIGN_OR_RETURN(const std::string data, blobs_->Get(digest, offset, size));
    std::memcpy(destination, data.data(), size);
    return absl::OkStatus();
  }

  BlobStore* const blobs_;
  const BlobCheck check_;
  const std::string model_id_;
  std::vector<Piece> pieces_;
  uint64_t size_bytes_ = 0;
};

}  // namespace

absl::Status DeltaPieceWriter::Append(absl::string_view bytes) {
  hasher_.Update(bytes);
  size_bytes_ += bytes.size();
  while (!bytes.empty()) {
    const size_t room = limits::kDeltaPieceBytes - (piece_.size() - marked_at_);
    const absl::string_view part = bytes.substr(0, room);
    piece_.append(part.data(), part.size());
    bytes_since_mark_ += part.size();
    bytes.remove_prefix(part.size());
    const bool is_own = bytes_since_mark_ >= limits::kMinSharedPayloadBytes;
    if (is_own && marked_at_ > 0) WDELTA_RETURN_IF_ERROR(StorePiece(marked_at_));
    if (piece_.size() >= limits::kDeltaPieceBytes) {
      WDELTA_RETURN_IF_ERROR(StorePiece(marked_at_ > 0 ? marked_at_ : piece_.size()));
    }
  }
  return absl::OkStatus();
}

absl::Status DeltaPieceWriter::Mark() {
  if (bytes_since_mark_ >= limits::kMinSharedPayloadBytes && !piece_.empty()) {
    WDELTA_RETURN_IF_ERROR(StorePiece(piece_.size()));
  }
  marked_at_ = piece_.size();
  bytes_since_mark_ = 0;
  return absl::OkStatus();
}

absl::Status DeltaPieceWriter::AppendPiece(std::string bytes) {
  hasher_.Update(bytes);
  size_bytes_ += bytes.size();
  piece_ = std::move(bytes);
  return StorePiece(piece_.size());
}

absl::Status DeltaPieceWriter::Finish() {
  return piece_.empty() ? absl::OkStatus() : StorePiece(piece_.size());
}

absl::Status DeltaPieceWriter::StorePiece(size_t size) {
  const absl::string_view piece = absl::string_view(piece_).substr(0, size);
  const Digest digest = Digest::Of(piece);
  WDELTA_ASSIGN_OR_RETURN(const PutResult put, claims_->ClaimAndPut(owner_, digest, piece));
  if (put == PutResult::kCreated) new_bytes_ += size;
  store::v1::DeltaPiece record;
  record.set_blob_digest(digest.ToBytes());
  record.set_size_bytes(size);
  pieces_.push_back(std::move(record));
  piece_.erase(0, size);
  marked_at_ -= std::min(marked_at_, size);
  return absl::OkStatus();
}

std::shared_ptr<const RandomAccessFile> OpenDeltaPieces(BlobStore* blobs,
                                                        const store::v1::ModelRecord& model,
                                                        BlobCheck check) {
  return std::make_shared<const DeltaPieceFile>(blobs, model, check);
}

}  // namespace wdelta

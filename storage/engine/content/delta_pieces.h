// A `.wdelta` file as pieces in the blob store: how it is written and read.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/digest.h"
#include "storage/base/file_system.h"
#include "storage/blobs/blob_store.h"
#include "storage/engine/records/blob_claims.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// Cuts appended bytes into blobs of kDeltaPieceBytes, or less, so that a payload of
// kMinSharedPayloadBytes or more lies in blobs of its own: equal payloads of several models
// are stored once. Holds one piece in memory. One thread at a time. Owns nothing.
class DeltaPieceWriter {
 public:
  // `owner`: of the claims, see blob_claims.h.
  DeltaPieceWriter(std::string owner, BlobClaims* claims)
      : owner_(std::move(owner)), claims_(claims) {}

  absl::Status Append(absl::string_view bytes);
  // What is appended from here to the next call is one payload, or lies between two.
  absl::Status Mark();
  // A piece as another writer has cut it, at most kMaxBlobBytes; not after Append.
  absl::Status AppendPiece(std::string bytes);
  // Stores the last piece; nothing may be appended afterwards.
  absl::Status Finish();

  const std::string& owner() const { return owner_; }
  const std::vector<store::v1::DeltaPiece>& pieces() const { return pieces_; }
  Digest digest() const { return hasher_.Current(); }
  uint64_t size_bytes() const { return size_bytes_; }
  // Of blobs that the store did not have.
  uint64_t new_bytes() const { return new_bytes_; }

 private:
  // Stores the first `size` bytes of piece_.
  absl::Status StorePiece(size_t size);

  const std::string owner_;
  BlobClaims* const claims_;
  std::string piece_;
  size_t marked_at_ = 0;  // in piece_; before it is what was appended before the mark
  uint64_t bytes_since_mark_ = 0;
  uint64_t size_bytes_ = 0;
  uint64_t new_bytes_ = 0;
  Sha256Hasher hasher_;
  std::vector<store::v1::DeltaPiece> pieces_;
};

// Who verifies what is read of blobs.
enum class BlobCheck { kByStore, kByReader };

// The pieces of a model's `.wdelta` as one file. `blobs` must outlive it.
std::shared_ptr<const RandomAccessFile> OpenDeltaPieces(BlobStore* blobs,
                                                        const store::v1::ModelRecord& model,
                                                        BlobCheck check);

}  // namespace wdelta

// What is checked on every received stream of pieces: checksums, no gap, no
// overlap, nothing missing at the end.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "wdelta/v1/fetch.pb.h"

namespace wdelta {

// DATA_LOSS with reason `what` went wrong, naming the file or tensor.
absl::Status PieceError(const std::string& subject, const char* reason, const std::string& message);

// Whether the bytes that a transfer left are not to be trusted: it received others than it
// should. A stream that ended too early, or damage that the server reports, says nothing of
// what came before.
bool IsLossOfPart(const absl::Status& status);

// One run of pieces. One thread at a time.
class PieceChecker {
 public:
  // `subject` is the file or tensor; `offset` and `size_bytes` are what is to come.
  PieceChecker(std::string subject, uint64_t offset, uint64_t size_bytes)
      : subject_(std::move(subject)), next_(offset), start_(offset), size_bytes_(size_bytes) {}

  // DATA_LOSS, reason `PIECE_OUT_OF_PLACE` or `PIECE_CRC_MISMATCH`.
  absl::Status Check(const v1::Piece& piece);
  // DATA_LOSS, reason `SIZE_MISMATCH`.
  absl::Status CheckTrailer(const v1::Trailer& trailer) const;
  // DATA_LOSS, reason `SHA256_MISMATCH`; an empty `expected` matches.
  absl::Status CheckSha256(const std::string& expected, const std::string& found) const;

  const std::string& subject() const { return subject_; }
  uint64_t received_bytes() const { return next_ - start_; }

 private:
  const std::string subject_;
  uint64_t next_;
  const uint64_t start_;
  const uint64_t size_bytes_;
};

}  // namespace wdelta

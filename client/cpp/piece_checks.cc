#include "client/cpp/piece_checks.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"

namespace wdelta {

absl::Status PieceError(const std::string& subject, const char* reason,
                        const std::string& message) {
  return MakeError(absl::StatusCode::kDataLoss, reason, absl::StrCat(subject, ": ", message),
                   {{"subject", subject}});
}

bool IsLossOfPart(const absl::Status& status) {
  if (!absl::IsDataLoss(status)) return false;
  const std::string reason = ErrorReason(status);
  return reason == "SHA256_MISMATCH" || reason == "PIECE_CRC_MISMATCH" ||
         reason == "PIECE_OUT_OF_PLACE" || reason == "SIZE_MISMATCH";
}

absl::Status PieceChecker::Check(const v1::Piece& piece) {
  if (piece.offset() != next_) {
    return PieceError(
        subject_, "PIECE_OUT_OF_PLACE",
        absl::StrCat("expected a piece at offset ", next_, ", found ", piece.offset()));
  }
  if (piece.data().size() > size_bytes_ - received_bytes()) {
    return PieceError(subject_, "PIECE_OUT_OF_PLACE",
                      absl::StrCat("expected ", size_bytes_, " bytes, found more"));
  }
  const uint32_t found = Crc32c(piece.data());
  if (found != piece.crc32c()) {
    return PieceError(subject_, "PIECE_CRC_MISMATCH",
                      absl::StrFormat("piece at offset %d: expected crc32c %08x, found %08x", next_,
                                      piece.crc32c(), found));
  }
  next_ += piece.data().size();
  return absl::OkStatus();
}

absl::Status PieceChecker::CheckTrailer(const v1::Trailer& trailer) const {
  if (received_bytes() != size_bytes_ || trailer.sent_bytes() != size_bytes_) {
    return PieceError(subject_, "SIZE_MISMATCH",
                      absl::StrCat("expected ", size_bytes_, " bytes, received ", received_bytes(),
                                   ", the server says it sent ", trailer.sent_bytes()));
  }
  return absl::OkStatus();
}

absl::Status PieceChecker::CheckSha256(const std::string& expected,
                                       const std::string& found) const {
  if (expected.empty() || expected == found) return absl::OkStatus();
  return PieceError(subject_, "SHA256_MISMATCH",
                    absl::StrCat("expected SHA-256 ", expected, ", found ", found));
}

}  // namespace wdelta

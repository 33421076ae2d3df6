#include "storage/blobs/blob_checks.h"

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {

absl::Status CheckBlob(const Digest& digest, absl::string_view data) {
  if (data.size() > limits::kMaxBlobBytes) {
    return absl::InvalidArgumentError(absl::StrCat("blob ", digest.ToHex(), ": expected at most ",
                                                   limits::kMaxBlobBytes, " bytes, found ",
                                                   data.size()));
  }
  const Digest found = Digest::Of(data);
  if (found != digest) {
    return absl::InvalidArgumentError(
        absl::StrCat("blob: expected bytes of digest ", digest.ToHex(), ", found ", found.ToHex()));
  }
  return absl::OkStatus();
}

absl::Status CheckBlobRange(const Digest& digest, uint64_t offset, uint64_t size,
                            uint64_t blob_size_bytes) {
  if (offset <= blob_size_bytes && size <= blob_size_bytes - offset) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat("blob ", digest.ToHex(), ": expected a range within ",
                                            blob_size_bytes, " bytes, found offset ", offset,
                                            " size ", size));
}

absl::StatusOr<std::optional<Digest>> CheckBlobList(const std::string& after_hex, uint32_t limit) {
  if (limit == 0) {
    return absl::InvalidArgumentError("list of blobs: expected a limit of at least 1, found 0");
  }
  if (after_hex.empty()) return std::optional<Digest>();
  WDELTA_ASSIGN_OR_RETURN(const Digest after, Digest::FromHex(after_hex));
  return std::optional<Digest>(after);
}

absl::Status BlobNotFoundError(const Digest& digest) {
  return MakeError(absl::StatusCode::kNotFound, "BLOB_NOT_FOUND",
                   absl::StrCat("blob ", digest.ToHex(), ": not found"),
                   {{"digest", digest.ToHex()}});
}

}  // namespace wdelta

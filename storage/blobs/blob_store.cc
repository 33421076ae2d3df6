#include "storage/blobs/blob_store.h"

#include <cstring>

#include "storage/base/status_macros.h"

namespace wdelta {

absl::Status BlobStore::ReadUnverified(const Digest& digest, uint64_t offset, uint64_t size,
                                       char* destination) {
  WDELTA_ASSIGN_OR_RETURN(const std::string bytes, Get(digest, offset, size));
  std::memcpy(destination, bytes.data(), bytes.size());
  return absl::OkStatus();
}

}  // namespace wdelta

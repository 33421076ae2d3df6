// Page tokens: any text is decoded or refused, and what was encoded comes back, for its own
// filters alone.
#include <cstdint>
#include <cstdlib>

#include "server/rpc/page_token.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<std::string> decoded = wdelta::DecodePageToken("filters", text);
  if (!decoded.ok() && !absl::IsInvalidArgument(decoded.status())) std::abort();

  // Longer positions than a listing has make tokens longer than are taken.
  const absl::string_view position = text.substr(0, 1024);
  const std::string token = wdelta::EncodePageToken("filters", position);
  const absl::StatusOr<std::string> again = wdelta::DecodePageToken("filters", token);
  if (!again.ok() || *again != position) std::abort();
  if (!position.empty() && wdelta::DecodePageToken("others", token).ok()) std::abort();
  return 0;
}

#include "storage/engine/encoding/stream_digests.h"

#include <algorithm>
#include <optional>
#include <string>

#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/engine/content/ordered_tasks.h"

namespace wdelta {
namespace {

struct StreamDigest {
  uint32_t stream = 0;
  Digest digest;
};

// In a pool thread.
absl::Status HashStream(const ContentSource& source, StreamDigest& result) {
  const uint64_t size_bytes = source.checkpoint().streams[result.stream].tensor.size_bytes;
  std::string buffer(std::min(size_bytes, limits::kChunkBytes), '\0');
  Sha256Hasher hasher;
  for (uint64_t offset = 0; offset < size_bytes; offset += buffer.size()) {
    buffer.resize(std::min<uint64_t>(buffer.size(), size_bytes - offset));
    WDELTA_RETURN_IF_ERROR(source.Read(result.stream, offset, buffer.size(), buffer.data()));
    hasher.Update(buffer);
  }
  result.digest = hasher.Current();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Digest>> DigestsOfStreams(const ContentSource& source, ThreadPool* pool,
                                                     const std::function<absl::Status()>& advance) {
  const size_t count = source.checkpoint().streams.size();
  std::vector<Digest> digests(count);
  OrderedTasks<StreamDigest> tasks(pool, [&](StreamDigest& result) {
    digests[result.stream] = result.digest;
    return advance();
  });
  for (uint32_t i = 0; i < count; ++i) {
    if (const std::optional<Digest> known = source.StreamDigest(i)) {
      digests[i] = *known;
      continue;
    }
    WDELTA_RETURN_IF_ERROR(tasks.Start([&source, i](StreamDigest& result) {
      result.stream = i;
      return HashStream(source, result);
    }));
  }
  WDELTA_RETURN_IF_ERROR(tasks.Finish());
  return digests;
}

}  // namespace wdelta

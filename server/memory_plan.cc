#include "server/memory_plan.h"

#include <algorithm>

#include "server/rpc/admission_limits.h"
#include "storage/base/limits.h"
#include "storage/engine/content/cursor.h"

namespace wdelta {

// Shares, of 64 parts: blob store 6 (write buffers 4, parts of blobs 1, index 1),
// catalog 3 (write buffers 1, cache 2), decoded chunks 14, fetch windows at most 24, fetches that
// wait 1, streams of uploads 10 (pieces 6, what is sent ahead to those that run 1, and to those
// that wait 3). The rest, 6, is for jobs and the process itself.
namespace {

constexpr uint64_t kParts = 64;
// What a stream of pieces may hold: one as it comes, one as it is received and parsed.
constexpr uint64_t kWriteStreamBytes = 3 * limits::kMiB;
constexpr uint64_t kMinReadAheadBytes = 64 * limits::kKiB;  // as gRPC has it by default

// What one fetch may hold: the windows of two tensors, small ones behind them, and
// the message on its way out.
uint64_t FetchBytes(const Config& config) {
  const auto window_pieces = static_cast<uint64_t>(WindowPieces(config.codec_threads));
  return (2 * window_pieces + 2) * limits::kFetchPieceBytes + limits::kFetchAheadBytes;
}

uint64_t Part(const Config& config, uint64_t parts) {
  return config.memory_limit_bytes / kParts * parts;
}

}  // namespace

RocksdbBlobStoreOptions BlobStoreOptionsFor(const Config& config) {
  RocksdbBlobStoreOptions options;
  options.memtable_bytes = Part(config, 4);
  options.blob_cache_bytes = Part(config, 1);
  options.block_cache_bytes = Part(config, 1);
  return options;
}

RocksdbCatalogOptions CatalogOptionsFor(const Config& config) {
  RocksdbCatalogOptions options;
  options.memtable_bytes = Part(config, 1);
  options.block_cache_bytes = Part(config, 2);
  return options;
}

uint64_t ChunkCacheBytesFor(const Config& config) { return Part(config, 14); }

int MaxFetchesFor(const Config& config) {
  const uint64_t fit = std::max<uint64_t>(1, Part(config, 24) / FetchBytes(config));
  return static_cast<int>(std::min<uint64_t>(config.max_fetches, fit));
}

int MaxDownloadsFor(const Config& config) {
  return std::max(1, std::min(MaxFetchesFor(config), config.http_max_connections) / 2);
}

int MaxWaitingFetchesFor(const Config& config) {
  return static_cast<int>(std::clamp<uint64_t>(
      Part(config, 1) / admission_limits::kWaitingFetchBytes, admission_limits::kMinWaitingFetches,
      admission_limits::kMaxWaitingFetches));
}

int MaxWriteStreamsFor(const Config& config) {
  return static_cast<int>(std::clamp<uint64_t>(Part(config, 6) / kWriteStreamBytes,
                                               limits::kMinWriteStreams, limits::kMaxWriteStreams));
}

int MaxWaitingWriteStreamsFor(const Config& config) {
  return static_cast<int>(std::clamp<uint64_t>(Part(config, 3) / ReadAheadBytesFor(config),
                                               admission_limits::kMinWaitingWriteStreams,
                                               admission_limits::kMaxWaitingWriteStreams));
}

uint64_t ReadAheadBytesFor(const Config& config) {
  return std::clamp(Part(config, 1) / static_cast<uint64_t>(MaxWriteStreamsFor(config)),
                    kMinReadAheadBytes, limits::kMaxMessageBytes);
}

}  // namespace wdelta

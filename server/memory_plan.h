// How --memory_limit is shared out. Pure functions.
#pragma once

#include <cstdint>

#include "server/config.h"
#include "storage/blobs/rocksdb_blob_store.h"
#include "storage/catalog/rocksdb_catalog.h"

namespace wdelta {

RocksdbBlobStoreOptions BlobStoreOptionsFor(const Config& config);
RocksdbCatalogOptions CatalogOptionsFor(const Config& config);
uint64_t ChunkCacheBytesFor(const Config& config);
// At least 1, at most what was configured.
int MaxFetchesFor(const Config& config);
// Of them, those over HTTP: at most half, and no more than half of its connections, whose threads
// they take. At least 1.
int MaxDownloadsFor(const Config& config);
// Those that wait for one of these places: kMinWaitingFetches to kMaxWaitingFetches.
int MaxWaitingFetchesFor(const Config& config);
// Streams of pieces at once: kMinWriteStreams to kMaxWriteStreams.
int MaxWriteStreamsFor(const Config& config);
// Those that wait for one of these places: kMinWaitingWriteStreams to kMaxWaitingWriteStreams.
int MaxWaitingWriteStreamsFor(const Config& config);
// What gRPC may receive of a stream, running or waiting, before it is asked for.
uint64_t ReadAheadBytesFor(const Config& config);

}  // namespace wdelta

// Every bound of the system, in one place. Bounds that an operator may move are
// options of the daemon whose defaults stand here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wdelta::limits {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;

// Checkpoints.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;  // as safetensors itself
inline constexpr uint64_t kMaxTensorsPerFile = 1'000'000;
inline constexpr uint64_t kMaxTensorNameBytes = 1024;
inline constexpr int kMaxTensorDimensions = 64;
inline constexpr uint64_t kMaxSafetensorsMetadataEntries = 100'000;
inline constexpr uint64_t kMaxEntriesPerUpload = 10'000;
inline constexpr uint64_t kMaxPathBytes = 1024;
inline constexpr uint64_t kMaxFileBytes = uint64_t{1} << 44;
inline constexpr uint64_t kMaxIndexJsonBytes = 64 * kMiB;
inline constexpr int kMaxJsonDepth = 16;

// Names, labels, metadata.
inline constexpr uint64_t kMaxNamePartBytes = 96;
inline constexpr uint64_t kMaxTagBytes = 96;
inline constexpr uint64_t kMaxAuthorBytes = 128;
inline constexpr uint64_t kMaxLabels = 64;
inline constexpr uint64_t kMaxLabelBytes = 256;           // key and value, each
inline constexpr uint64_t kMaxMetadataBytes = 64 * kKiB;  // all keys and values
inline constexpr uint64_t kMaxParents = 64;
inline constexpr uint64_t kMaxRequestIdBytes = 128;
inline constexpr double kMaxBitsPerWeight = 32;  // that may be asked for
inline constexpr uint64_t kMinDigestPrefixDigits = 8;

// Codec and `.wdelta`.
inline constexpr uint64_t kChunkBytes = 512 * kKiB;   // decoded, of all but a stream's last chunk
inline constexpr uint64_t kMaxChunkBytes = 4 * kMiB;  // that a reader accepts
inline constexpr uint32_t kMaxCorrectionRank = 64;
inline constexpr uint64_t kMaxFactorBytes = 16 * kMiB;           // of one stream's correction
inline constexpr uint64_t kMaxWdeltaMetadataBytes = 256 * kMiB;  // decompressed
inline constexpr uint64_t kMaxStreamsPerModel = 2'000'000;
inline constexpr uint64_t kDeltaPieceBytes = 4 * kMiB;         // of a `.wdelta` in the blob store
inline constexpr uint64_t kMinSharedPayloadBytes = 32 * kKiB;  // of a stream, to lie by itself
inline constexpr uint64_t kMaxBlobBytes = 16 * kMiB;
// Of tensors that are searched for low ranks; in memory are up to four times as many.
inline constexpr uint64_t kMaxHeldBytes = 2 * kChunkBytes;  // of one that is read once
inline constexpr uint64_t kMaxBytesAhead = 2 * kMiB;        // before it is their turn

// Storage parents.
inline constexpr uint32_t kMaxStorageDepth = 16;  // of any chain that is read
inline constexpr uint32_t kDefaultMaxChainDepth = 4;
inline constexpr double kMinFetchCost = 1;
inline constexpr double kMaxFetchCost = 100;
inline constexpr double kDefaultMaxFetchCost = 5;   // bytes decoded for each byte served
inline constexpr size_t kMaxParentCandidates = 32;  // that are measured
inline constexpr uint32_t kMaxCandidatesOfAKind = 8;
inline constexpr size_t kMaxSharersOpened = 16;         // models with a tensor of the new one
inline constexpr size_t kMaxSampledChunks = 64;         // of the model, for each candidate
inline constexpr uint64_t kMaxRelativesVisited = 1000;  // of the declared lineage

// Decoded chunks in memory.
inline constexpr uint64_t kMinCachedStreamBytes = 4 * kKiB;  // less is decoded for every fetch
inline constexpr uint64_t kCacheEntryBytes = 256;            // of a chunk, besides its bytes
inline constexpr uint64_t kMaxIdleChunks = 32;               // whose memory waits for others

// Index of contents.
inline constexpr uint64_t kMinIndexedBytes = 4 * kKiB;  // of a tensor or side file
inline constexpr size_t kMaxIndexedStreams = 4096;      // the largest, of a model
inline constexpr size_t kMaxTensorsLookedUp = 64;       // the largest, for candidates

// Content that an upload need not send.
inline constexpr uint64_t kMinReusedBytes = 4 * kKiB;  // of a stream; less is sent
inline constexpr size_t kMaxNearModels = 8;            // whose every stream is known
inline constexpr uint64_t kMaxContentsPerCall = 10'000;
inline constexpr uint64_t kCopyStepBytes = 8 * kMiB;  // copied before other streams have a turn

// Comparing and merging.
inline constexpr uint64_t kMaxBlamedAncestors = 10'000;  // opened for one answer
inline constexpr size_t kMaxMergeSources = 16;           // each has a chunk a thread in memory

// Serving.
inline constexpr uint64_t kMaxPieceBytes = 2 * kMiB;
inline constexpr uint64_t kFetchPieceBytes = 1 * kMiB;
inline constexpr uint64_t kMaxMessageBytes = 4 * kMiB;
inline constexpr uint64_t kSyncIntervalBytes = 64 * kMiB;  // of a staged file
inline constexpr uint32_t kDefaultPageSize = 100;
inline constexpr uint32_t kMaxPageSize = 1000;
inline constexpr uint64_t kDefaultMaxOpenUploads = 1000;
inline constexpr int64_t kExpiryCheckMs = 60'000;  // between looks for expired uploads, at most
inline constexpr int kDefaultMaxFetches = 64;
inline constexpr int kQueryThreads = 4;                 // unary calls that only read
inline constexpr int kChangeThreads = 16;               // those that change; they wait for the disk
inline constexpr int kMaxWaitingCalls = 1000;           // of either kind, waiting or running
inline constexpr int kOpeningThreads = 4;               // of fetches
inline constexpr int kWriteThreads = 4;                 // for pieces of uploads
inline constexpr int kMinWriteStreams = 4;              // of pieces, at once, in little memory
inline constexpr int kMaxWriteStreams = 64;             // likewise, in any
inline constexpr int64_t kMaxWriteWaitMs = 60'000;      // for a client that holds a thread
inline constexpr int kMaxJobWatches = 64;               // each has a thread
inline constexpr int kMaxComparisons = 4;               // each has a thread
inline constexpr int kMaxFoldings = 4;                  // of deltas; each has a thread
inline constexpr size_t kFoldedPiecesAhead = 2;         // of a folded delta, that wait to be sent
inline constexpr int kMaxHeldModels = 16;               // that a client names for one delta
inline constexpr size_t kMaxRouteSampleChunks = 16;     // of the model, for each held model
inline constexpr uint64_t kFetchAheadBytes = 4 * kMiB;  // of tensors behind the current one
inline constexpr size_t kMaxFetchAheadTensors = 64;
inline constexpr uint32_t kMaxModelsScannedPerPage = 1000;  // before a page is returned short
inline constexpr uint64_t kMaxLineageVisits = 1'000'000;
inline constexpr int kMaxModelsOfCommonAncestors = 16;
inline constexpr uint64_t kMaxTensorPatterns = 1000;
inline constexpr uint64_t kMaxTensorPatternBytes = 1024;
inline constexpr uint64_t kMaxPatternBytesOfFetch = 64 * kKiB;  // of all its patterns
inline constexpr uint64_t kMaxTensorSlices = 1000;
inline constexpr int kMaxTensorSelections = 32;        // of one fetch, each with a model open
inline constexpr uint64_t kMaxChunksOfSlicePiece = 8;  // decoded for one piece of a slice
inline constexpr uint32_t kMaxVersionsTried = 1000;    // of a name, for one that can be fetched

// Disk and backups.
inline constexpr uint64_t kDefaultMinFreeBytes = 256 * kMiB;
inline constexpr uint64_t kDiskRecoveryDivisor = 4;  // of the minimum, that must be free beyond it
inline constexpr int64_t kDiskFullRetryMs = 5'000;   // until a job looks again
inline constexpr uint64_t kDiskCheckBytes = 4 * kMiB;  // that a stream writes between two looks
inline constexpr int kMaxMendedBackupFiles = 64;       // of former backups, by one backup

// Jobs.
inline constexpr uint32_t kMaxJobFailures = 3;
inline constexpr uint32_t kMaxJobInterruptions = 16;   // in a row, by an end of the daemon
inline constexpr uint32_t kQuickJobInterruptions = 3;  // after more, other jobs go first
inline constexpr uint32_t kMaxJobRetryShift = 3;
inline constexpr int kMaxOvertakenRuns = 8;  // of an ingest whose parents are deleted meanwhile
inline constexpr int64_t kJobLeaseMs = 60'000;
inline constexpr int64_t kJobRetryDelayMs = 2'000;   // doubled with every failure
inline constexpr int64_t kMinWorkerBackOffMs = 100;  // while the queue cannot be read
inline constexpr int64_t kMaxWorkerBackOffMs = 10'000;
inline constexpr int64_t kMinStrayAgeMs = 3'600'000;      // of staged bytes without an upload
inline constexpr int64_t kKeepEndedMs = 7 * 86'400'000;   // records of uploads and jobs
inline constexpr uint32_t kModelsPerScan = 64;            // records in memory at once
inline constexpr int64_t kKeepGcDecisionMs = 86'400'000;  // that a deleted model stays
inline constexpr int kMaxGcProblems = 20;
inline constexpr uint32_t kMaxRetentionRules = 1000;
inline constexpr size_t kMaxToldJobs = 10'000;  // that wait, and of which the log has told
inline constexpr uint64_t kMaxCommitGroupBytes = 1 * kMiB;  // of values, before the last commit
inline constexpr uint64_t kMaxWatchBacklog = 10'000;        // events kept for a watcher that lags
inline constexpr uint64_t kMaxWatchBacklogBytes = 16 * kMiB;

}  // namespace wdelta::limits

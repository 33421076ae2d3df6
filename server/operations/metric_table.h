// All metrics that the daemon exposes: one table of names, kinds and help texts.
#pragma once

#include <cstddef>

#include "absl/types/span.h"

namespace wdelta {

// In the order of the table.
enum class MetricId {
  // The process.
  kBuildInfo,
  kStartTime,
  kCpuSeconds,
  kResidentBytes,
  kOpenFds,
  kMaxFds,
  kReady,
  kScrapeFailed,
  // Calls.
  kRpcDuration,
  kHttpDuration,
  kReceivedBytes,
  kSentBytes,
  kSlots,
  kSlotsTaken,
  kSlotsWaiting,
  // Models and their bytes.
  kModels,
  kLogicalBytes,
  kStoredBytes,
  // Jobs.
  kQueuedJobs,
  kJobDuration,
  kJobRuns,
  kGcFreedBytes,
  kGcWrittenBytes,
  kGcModels,
  kScrubbedModels,
  kScrubbedBytes,
  kScrubDamages,
  kScrubRepairs,
  kDamagedModels,
  // Fetches.
  kFetchDuration,
  kFetchChainDepth,
  kFetchReadBytes,
  // Caches.
  kCacheHits,
  kCacheMisses,
  kCacheEvictions,
  kCacheBytes,
  kCacheCapacity,
  // Disk.
  kDiskFree,
  kDiskMinFree,
  kDiskReserved,
  kReadOnly,
  // Databases.
  kDbMemory,
  kDbFileBytes,
  kDbDeadBytes,
  kDbCompactionReadBytes,
  kDbCompactionWrittenBytes,
  kDbFlushedBytes,
  kDbLogBytes,
  kDbLogSyncs,
  kDbStallSeconds,
  kDbWriteStopped,
};

enum class MetricKind { kCounter, kGauge, kHistogram };

// Labels have few values, never ids or names of models.
struct Metric {
  MetricId id;
  const char* name;
  MetricKind kind;
  const char* help;
};

absl::Span<const Metric> AllMetrics();
inline const Metric& MetricOf(MetricId id) { return AllMetrics()[static_cast<size_t>(id)]; }

}  // namespace wdelta

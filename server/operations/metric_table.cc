#include "server/operations/metric_table.h"

#include <cstddef>
#include <iterator>

namespace wdelta {
namespace {

using enum MetricId;
using enum MetricKind;

constexpr Metric kTable[] = {
    {kBuildInfo, "wdelta_build_info", kGauge, "1; the version is a label"},
    {kStartTime, "wdelta_process_start_time_seconds", kGauge,
     "When the process began, in seconds of the Unix epoch"},
    {kCpuSeconds, "wdelta_process_cpu_seconds_total", kCounter,
     "CPU time of the process, user and system"},
    {kResidentBytes, "wdelta_process_resident_memory_bytes", kGauge, "Resident memory"},
    {kOpenFds, "wdelta_process_open_fds", kGauge, "Open file descriptors"},
    {kMaxFds, "wdelta_process_max_fds", kGauge, "File descriptors that may be open"},
    {kReady, "wdelta_ready", kGauge, "1 when /readyz says so, with no check excluded"},
    {kScrapeFailed, "wdelta_scrape_source_failed", kGauge,
     "1 when what the source tells is missing from this scrape"},

    {kRpcDuration, "wdelta_rpc_duration_seconds", kHistogram,
     "gRPC calls by method and code, from their begin until the server has ended them"},
    {kHttpDuration, "wdelta_http_request_duration_seconds", kHistogram,
     "Requests to the Hub's protocol by method and status, bodies included"},
    {kReceivedBytes, "wdelta_received_bytes_total", kCounter,
     "grpc: content of pieces that were uploaded; http: all bytes of connections"},
    {kSentBytes, "wdelta_sent_bytes_total", kCounter,
     "grpc: content of pieces that were fetched; http: all bytes of connections"},
    {kSlots, "wdelta_slots", kGauge,
     "How many of a thing may run at once; more wait or are refused"},
    {kSlotsTaken, "wdelta_slots_taken", kGauge, "How many of it run"},
    {kSlotsWaiting, "wdelta_slots_waiting", kGauge,
     "How many of it wait for others to end, where any may"},

    {kModels, "wdelta_models", kGauge, "Models by kind (of declared lineage) and state"},
    {kLogicalBytes, "wdelta_logical_bytes", kGauge, "Bytes of models as they are served"},
    {kStoredBytes, "wdelta_stored_bytes", kGauge,
     "Bytes of models as they are stored; what several share is counted for each"},

    {kQueuedJobs, "wdelta_jobs", kGauge, "Jobs that have not ended, by kind and state"},
    {kJobDuration, "wdelta_job_duration_seconds", kHistogram,
     "Runs of jobs by kind and result; a job may take several"},
    {kJobRuns, "wdelta_job_runs_total", kCounter,
     "The same as a number, which begins with zero for every kind and result"},
    {kGcFreedBytes, "wdelta_gc_freed_bytes_total", kCounter,
     "Bytes of blobs that garbage collections deleted"},
    {kGcWrittenBytes, "wdelta_gc_written_bytes_total", kCounter,
     "Bytes of blobs that garbage collections wrote in the stead of others"},
    {kGcModels, "wdelta_gc_models_total", kCounter,
     "Models that garbage collections deleted by rule, rewrote against others, or freed"},
    {kScrubbedModels, "wdelta_scrub_models_total", kCounter, "Models that scrubs verified"},
    {kScrubbedBytes, "wdelta_scrub_bytes_total", kCounter, "Bytes of models that scrubs verified"},
    {kScrubDamages, "wdelta_scrub_damages_total", kCounter, "Damaged models that scrubs found"},
    {kScrubRepairs, "wdelta_scrub_repairs_total", kCounter, "Damaged models that scrubs mended"},
    {kDamagedModels, "wdelta_scrub_damaged_models", kGauge,
     "Models that the last scrub found damaged and did not mend, as far as it has come; "
     "0 without one"},

    {kFetchDuration, "wdelta_fetch_duration_seconds", kHistogram,
     "From the opening of a model for a fetch until the last piece was read of it"},
    {kFetchChainDepth, "wdelta_fetch_chain_depth", kHistogram,
     "Models below the fetched one in its decoding chain"},
    {kFetchReadBytes, "wdelta_fetch_read_bytes_total", kCounter,
     "Bytes that were reconstructed for fetches, or read where models are staged"},

    {kCacheHits, "wdelta_cache_hits_total", kCounter,
     "Look-ups that found something; chunk: decoded chunks, block and blob: of the databases"},
    {kCacheMisses, "wdelta_cache_misses_total", kCounter, "Look-ups that did not"},
    {kCacheEvictions, "wdelta_cache_evictions_total", kCounter,
     "Entries that made room for others; not told by the databases"},
    {kCacheBytes, "wdelta_cache_bytes", kGauge, "Bytes in a cache"},
    {kCacheCapacity, "wdelta_cache_capacity_bytes", kGauge, "Bytes that a cache may hold"},

    {kDiskFree, "wdelta_disk_free_bytes", kGauge, "Free space of the data folder's file system"},
    {kDiskMinFree, "wdelta_disk_min_free_bytes", kGauge,
     "Free space below which the store is read-only"},
    {kDiskReserved, "wdelta_disk_reserved_bytes", kGauge,
     "Space that open uploads and jobs may still fill"},
    {kReadOnly, "wdelta_read_only", kGauge, "1 while uploads and jobs wait for disk space"},

    {kDbMemory, "wdelta_db_memory_bytes", kGauge,
     "Memory of a database besides its caches: memtables, and readers of tables"},
    {kDbFileBytes, "wdelta_db_file_bytes", kGauge, "Bytes of a database's live files"},
    {kDbDeadBytes, "wdelta_db_dead_bytes", kGauge,
     "Bytes in live files that nothing refers to any more, until they are collected"},
    {kDbCompactionReadBytes, "wdelta_db_compaction_read_bytes_total", kCounter,
     "Bytes that compactions read"},
    {kDbCompactionWrittenBytes, "wdelta_db_compaction_written_bytes_total", kCounter,
     "Bytes that compactions wrote"},
    {kDbFlushedBytes, "wdelta_db_flushed_bytes_total", kCounter,
     "Bytes of memtables that were written out"},
    {kDbLogBytes, "wdelta_db_wal_bytes_total", kCounter, "Bytes of the write-ahead log"},
    {kDbLogSyncs, "wdelta_db_wal_syncs_total", kCounter, "Syncs of the write-ahead log"},
    {kDbStallSeconds, "wdelta_db_stall_seconds_total", kCounter,
     "Time that writes were held up for compactions and flushes"},
    {kDbWriteStopped, "wdelta_db_write_stopped", kGauge, "1 while a database takes no writes"},
};

constexpr bool IsInOrder() {
  for (size_t i = 0; i < std::size(kTable); ++i) {
    if (static_cast<size_t>(kTable[i].id) != i) return false;
  }
  return std::size(kTable) == static_cast<size_t>(kDbWriteStopped) + 1;
}
static_assert(IsInOrder(), "MetricOf looks for a metric at the place of its id");

}  // namespace

absl::Span<const Metric> AllMetrics() { return kTable; }

}  // namespace wdelta

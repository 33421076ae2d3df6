#include "server/operations/server_metrics.h"

#include "absl/strings/str_cat.h"

namespace wdelta {
namespace {

void CollectSlots(const char* of, const Admission& admission, MetricWriter& writer) {
  writer.Add(MetricId::kSlots, admission.limit(), {{"of", of}});
  writer.Add(MetricId::kSlotsTaken, admission.taken(), {{"of", of}});
}

void CollectQueue(const char* of, const AdmissionQueue& queue, MetricWriter& writer) {
  writer.Add(MetricId::kSlots, queue.limit(), {{"of", of}});
  writer.Add(MetricId::kSlotsTaken, queue.taken(), {{"of", of}});
  writer.Add(MetricId::kSlotsWaiting, queue.waiting(), {{"of", of}});
}

void CollectCache(const MetricWriter::Labels& labels, const CacheUse& use, MetricWriter& writer) {
  writer.Add(MetricId::kCacheHits, static_cast<double>(use.hits), labels);
  writer.Add(MetricId::kCacheMisses, static_cast<double>(use.misses), labels);
  writer.Add(MetricId::kCacheBytes, static_cast<double>(use.size_bytes), labels);
  writer.Add(MetricId::kCacheCapacity, static_cast<double>(use.capacity_bytes), labels);
}

}  // namespace

void CollectRpc(RpcEnvironment& environment, MetricWriter& writer) {
  const RpcStats& stats = environment.stats();
  for (const auto& [key, counts] : stats.durations_seconds.Counts()) {
    writer.Add(
        MetricId::kRpcDuration, counts,
        {{"method", std::string(key.first)}, {"code", absl::StatusCodeToString(key.second)}});
  }
  const MetricWriter::Labels labels = {{"protocol", "grpc"}};
  writer.Add(MetricId::kReceivedBytes, static_cast<double>(stats.received_bytes.load()), labels);
  writer.Add(MetricId::kSentBytes, static_cast<double>(stats.sent_bytes.load()), labels);
  CollectQueue("fetches", environment.fetches(), writer);
  CollectQueue("downloads", environment.downloads(), writer);
  CollectQueue("upload_streams", environment.write_streams(), writer);
  CollectSlots("job_watches", environment.watches(), writer);
  CollectSlots("comparisons", environment.comparisons(), writer);
  CollectSlots("foldings", environment.foldings(), writer);
}

void CollectHttp(const HttpStats& stats, MetricWriter& writer) {
  for (const auto& [key, counts] : stats.durations_seconds.Counts()) {
    writer.Add(MetricId::kHttpDuration, counts,
               {{"method", key.first}, {"status", absl::StrCat(key.second)}});
  }
  const MetricWriter::Labels labels = {{"protocol", "http"}};
  writer.Add(MetricId::kReceivedBytes, static_cast<double>(stats.received_bytes.load()), labels);
  writer.Add(MetricId::kSentBytes, static_cast<double>(stats.sent_bytes.load()), labels);
}

void CollectDatabase(const std::string& name, const DatabaseStats& stats, MetricWriter& writer) {
  const MetricWriter::Labels labels = {{"db", name}};
  CollectCache({{"cache", absl::StrCat(name, "_block")}}, stats.block_cache, writer);
  if (stats.blob_cache.capacity_bytes > 0) {
    CollectCache({{"cache", absl::StrCat(name, "_blob")}}, stats.blob_cache, writer);
  }
  const auto add = [&](MetricId id, uint64_t value) {
    writer.Add(id, static_cast<double>(value), labels);
  };
  writer.Add(MetricId::kDbMemory, static_cast<double>(stats.memtable_bytes),
             {{"db", name}, {"what", "memtables"}});
  writer.Add(MetricId::kDbMemory, static_cast<double>(stats.table_reader_bytes),
             {{"db", name}, {"what", "table_readers"}});
  add(MetricId::kDbFileBytes, stats.live_file_bytes);
  add(MetricId::kDbDeadBytes, stats.dead_bytes);
  add(MetricId::kDbCompactionReadBytes, stats.compaction_read_bytes);
  add(MetricId::kDbCompactionWrittenBytes, stats.compaction_written_bytes);
  add(MetricId::kDbFlushedBytes, stats.flushed_bytes);
  add(MetricId::kDbLogBytes, stats.log_bytes);
  add(MetricId::kDbLogSyncs, stats.log_syncs);
  writer.Add(MetricId::kDbStallSeconds, static_cast<double>(stats.stall_us) * 1e-6, labels);
  add(MetricId::kDbWriteStopped, stats.is_write_stopped ? 1 : 0);
}

}  // namespace wdelta

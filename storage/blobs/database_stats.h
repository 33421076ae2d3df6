// What a database tells of itself.
#pragma once

#include <cstdint>

namespace wdelta {

struct CacheUse {
  uint64_t hits = 0;
  uint64_t misses = 0;
  uint64_t size_bytes = 0;
  uint64_t capacity_bytes = 0;
};

// Counts are those since the process opened it.
struct DatabaseStats {
  CacheUse block_cache;  // of indexes, filters and small values
  CacheUse blob_cache;   // of large values; all zero where there is none
  uint64_t compaction_read_bytes = 0;
  uint64_t compaction_written_bytes = 0;
  uint64_t flushed_bytes = 0;
  uint64_t log_bytes = 0;  // of the write-ahead log
  uint64_t log_syncs = 0;
  uint64_t stall_us = 0;  // that writes were held up
  bool is_write_stopped = false;
  uint64_t memtable_bytes = 0;
  uint64_t table_reader_bytes = 0;  // in memory, besides the block cache
  uint64_t live_file_bytes = 0;     // on disk, dead bytes included
  uint64_t dead_bytes = 0;          // in blob files, until they are collected
};

}  // namespace wdelta

// The engine: what the server sees of storage.
//
// Owns its parts and hands them out; each part's header is its contract. All calls
// block on storage and may be made from any thread, never from a gRPC reactor.
// Does not own its dependencies, which must outlive it.
#pragma once

#include <memory>
#include <string>

#include "storage/base/clock.h"
#include "storage/base/file_system.h"
#include "storage/base/id.h"
#include "storage/base/limits.h"
#include "storage/base/thread_pool.h"
#include "storage/base/waiting.h"
#include "storage/blobs/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/content/staging.h"
#include "storage/engine/disk/disk_guard.h"
#include "storage/engine/gc/maintenance.h"
#include "storage/engine/job_runner.h"
#include "storage/engine/merge/merges.h"
#include "storage/engine/models/lineage_index.h"
#include "storage/engine/models/models.h"
#include "storage/engine/queue/job_queue.h"
#include "storage/engine/queue/job_tally.h"
#include "storage/engine/records/blob_claims.h"
#include "storage/engine/uploads/revisions.h"
#include "storage/engine/uploads/uploads.h"

namespace wdelta {

struct ModelStoreOptions {
  std::string staging_dir;
  // Names this daemon in job leases: stays the same over restarts of the daemon
  // that owns the staging folder.
  std::string node_id = "local";
  // Threads that encode and decode chunks, shared by all jobs and fetches. 0: whoever needs a
  // chunk does it.
  int codec_threads = 2;
  // A thread keeps the lineage in memory up to date; without it, who asks for it does.
  bool has_lineage_thread = true;
  // Decoded chunks of models that others are encoded against, or that several fetches want.
  uint64_t chunk_cache_bytes = 64 * limits::kMiB;
  uint64_t max_open_uploads = limits::kDefaultMaxOpenUploads;
  // Of an open upload without activity; infinite: for ever.
  absl::Duration upload_ttl = absl::InfiniteDuration();
  // As of DiskGuard, of the disk that holds the staging folder.
  uint64_t min_free_bytes = limits::kDefaultMinFreeBytes;
  StoragePolicy storage_policy;
};

class ModelStore {
 public:
  struct Dependencies {
    BlobStore* blobs = nullptr;
    Catalog* catalog = nullptr;
    FileSystem* files = nullptr;
    const Clock* clock = nullptr;
    // For simulations. Null: ids that nobody can tell before, and threads that block.
    IdGenerator::RandomSource random;
    Waiting* waiting = nullptr;
  };

  ModelStore(const Dependencies& dependencies, ModelStoreOptions options);
  ModelStore(const ModelStore&) = delete;
  ModelStore& operator=(const ModelStore&) = delete;

  // Reads the lineage of all models, reserves disk space for open uploads, and removes staged
  // bytes that nothing refers to any more. Once, before serving.
  absl::Status Recover();

  Models& models() { return models_; }
  LineageIndex& lineage() { return lineage_; }
  Uploads& uploads() { return uploads_; }
  Merges& merges() { return merges_; }
  Revisions& revisions() { return revisions_; }
  Reader& reader() { return reader_; }
  JobQueue& jobs() { return jobs_; }
  JobTally& job_tally() { return job_tally_; }
  JobRunner& runner() { return runner_; }
  Maintenance& maintenance() { return maintenance_; }
  DiskGuard& disk() { return disk_; }
  // For work that encodes and decodes chunks.
  ThreadPool& codec_pool() { return codec_pool_; }

 private:
  const ModelStoreOptions options_;
  IdGenerator ids_;
  BlobClaims claims_;
  Staging staging_;
  DiskGuard disk_;
  JobQueue jobs_;
  JobTally job_tally_;
  Models models_;
  LineageIndex lineage_;
  Reader reader_;
  Uploads uploads_;
  Merges merges_;
  Revisions revisions_;
  const JobDependencies job_dependencies_;
  JobRunner runner_;
  Maintenance maintenance_;
  // Last, so that its tasks end before what they use goes.
  ThreadPool codec_pool_;
};

}  // namespace wdelta

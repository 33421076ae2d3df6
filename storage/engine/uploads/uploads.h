// Uploads: the way of a checkpoint into the store, up to the durable promise.
// Any thread may call it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/base/clock.h"
#include "storage/base/id.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/content/staging.h"
#include "storage/engine/disk/disk_guard.h"
#include "storage/engine/models/models.h"
#include "storage/engine/queue/job_queue.h"
#include "storage/engine/records/name_check.h"
#include "storage/engine/uploads/content_finder.h"
#include "storage/engine/uploads/upload_params.h"
#include "storage/engine/uploads/upload_space.h"
#include "storage/engine/uploads/upload_writer.h"
#include "store/v1/records.pb.h"

namespace wdelta {

class Uploads {
 public:
  struct Dependencies {
    Catalog* catalog = nullptr;
    FileSystem* files = nullptr;
    Staging* staging = nullptr;
    JobQueue* jobs = nullptr;
    Models* models = nullptr;
    Reader* reader = nullptr;
    IdGenerator* ids = nullptr;
    const Clock* clock = nullptr;
    DiskGuard* disk = nullptr;
    uint64_t max_open_uploads = 0;
    // Of an open upload without activity; infinite: for ever.
    absl::Duration upload_ttl = absl::InfiniteDuration();
  };
  // Owns none of them; all must outlive it.
  explicit Uploads(const Dependencies& dependencies)
      : deps_(dependencies), space_(dependencies.disk) {}

  // Reserves again the space that open uploads may still write. Once, before serving.
  absl::Status Recover();

  // Errors of all calls are listed in proto/wdelta/v1/uploads.proto, besides those of CheckFound:
  // a caller that may name some models only is given nothing of others. It may declare them as
  // parents, unless MayShowParents.
  absl::StatusOr<UploadView> Start(const StartUploadParams& params,
                                   const NameCheck& check_name = nullptr);
  absl::StatusOr<UploadView> AddEntries(const std::string& upload_id,
                                        const std::vector<EntryParams>& entries);
  // Indices of the contents that UploadWriter::Copy can take from the store.
  absl::StatusOr<std::vector<uint32_t>> FindContent(const std::string& upload_id,
                                                    const std::vector<Digest>& contents,
                                                    const NameCheck& check_name = nullptr);
  absl::StatusOr<UploadView> Get(const std::string& upload_id);
  absl::StatusOr<Page<UploadView>> ListOpen(const std::string& after, uint32_t limit);
  absl::StatusOr<std::unique_ptr<UploadWriter>> OpenWriter(const std::string& upload_id,
                                                           const NameCheck& check_name = nullptr);
  // `check` is asked before each attempt to make the model durable, which fails if the name has
  // got another version since; its error ends the call.
  absl::StatusOr<FinishedUpload> Finish(const std::string& upload_id,
                                        const StringMap& sha256_by_path,
                                        const NameCheck& check_name = nullptr,
                                        const std::function<absl::Status()>& check = nullptr);
  absl::Status Cancel(const std::string& upload_id);
  // Cancels open uploads without activity for `upload_ttl` and frees their space, but for
  // those that are being written; returns their ids. From time to time.
  absl::StatusOr<std::vector<std::string>> ExpireIdle();

 private:
  class Writer;
  class WriterTurn;
  class FinishGuard;
  struct Stored {
    store::v1::UploadRecord record;
    uint64_t version = 0;
  };

  absl::StatusOr<Stored> Load(const std::string& upload_id);
  absl::StatusOr<Stored> LoadOpen(const std::string& upload_id);
  absl::StatusOr<UploadView> ViewOf(store::v1::UploadRecord record);
  // For the content of one upload.
  absl::StatusOr<ContentFinder> NewFinder(const store::v1::UploadRecord& upload,
                                          const NameCheck& check_name);
  // `staged`: the durable sizes of its entries.
  absl::Time ExpireTime(const store::v1::UploadRecord& upload,
                        const std::vector<store::v1::StagedSizeRecord>& staged) const;
  absl::StatusOr<bool> ExpireOne(const std::string& upload_id);
  absl::StatusOr<FinishedUpload> FinishedModelOf(const store::v1::UploadRecord& record);
  absl::StatusOr<store::v1::ModelRecord> BuildModel(const store::v1::UploadRecord& upload,
                                                    const StringMap& sha256_by_path,
                                                    const NameCheck& check_name);
  absl::StatusOr<FinishedUpload> CommitModel(const Stored& upload, store::v1::ModelRecord model,
                                             const std::function<absl::Status()>& check);

  const Dependencies deps_;
  UploadSpace space_;
  absl::Mutex mutex_;
  // Entries (`upload id/index`) held by a writer, and uploads being finished.
  absl::flat_hash_set<std::string> busy_entries_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, int> writers_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<std::string> finishing_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

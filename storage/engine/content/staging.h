// The staging area: files of uploads until their models are compressed.
//
// Layout: <staging dir>/<upload id>/<entry index, 8 digits>. Any thread may call
// it; at most one writer an entry (Uploads sees to that).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/base/digest.h"
#include "storage/base/file_system.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/content/content_source.h"
#include "store/v1/records.pb.h"

namespace wdelta {

// Appends to one staged entry and keeps its running SHA-256. One thread at a time.
class StagedWriter {
 public:
  StagedWriter(std::string key, uint64_t durable_bytes, Sha256Hasher hasher,
               std::unique_ptr<AppendFile> file)
      : key_(std::move(key)),
        size_bytes_(durable_bytes),
        durable_bytes_(durable_bytes),
        hasher_(std::move(hasher)),
        file_(std::move(file)) {}

  // A failed Append may leave a part of its data behind what counts: it fails again
  // from then on, and what was appended before can still be synced.
  absl::Status Append(absl::string_view data);
  // Makes what was appended durable and records the size in the catalog. A failed
  // sync may have lost data though the next would succeed: both fail from then on,
  // and a new writer goes on at the last durable size.
  absl::Status Sync(Catalog& catalog, absl::Time now);
  // Writes out what was appended and records nothing, so that a later Sync takes no long
  // time. Fails as Sync does.
  absl::Status Flush();

  // A place to return to: see Staging::Rewind.
  struct Mark {
    uint64_t size_bytes = 0;
    Sha256Hasher hasher;
  };
  Mark End() const { return {size_bytes_, hasher_.Copy()}; }

  uint64_t size_bytes() const { return size_bytes_; }
  uint64_t durable_bytes() const { return durable_bytes_; }
  const Sha256Hasher& hasher() const { return hasher_; }

 private:
  friend class Staging;
  const std::string key_;  // of the StagedSizeRecord
  uint64_t size_bytes_;
  uint64_t durable_bytes_;
  Sha256Hasher hasher_;
  std::unique_ptr<AppendFile> file_;
  absl::Status append_status_;
  absl::Status sync_status_;
};

class Staging {
 public:
  // Owns none of them.
  Staging(std::string directory, FileSystem* files, Catalog* catalog)
      : directory_(std::move(directory)), files_(files), catalog_(catalog) {}

  absl::Status CreateFolder(const std::string& upload_id);

  // Of an entry that was never synced: zeros.
  absl::StatusOr<store::v1::StagedSizeRecord> DurableSize(const std::string& upload_id,
                                                          uint32_t entry);
  absl::StatusOr<uint64_t> DurableBytes(const std::string& upload_id, uint32_t entry);
  // Of the first `entry_count` entries, by one scan.
  absl::StatusOr<std::vector<store::v1::StagedSizeRecord>> DurableSizes(
      const std::string& upload_id, size_t entry_count);

  // Opens at the durable end; what lies beyond is cut off.
  absl::StatusOr<std::unique_ptr<StagedWriter>> OpenWriter(const std::string& upload_id,
                                                           uint32_t entry);
  // Cuts off what was appended since the mark, which is at no less than the durable size. A
  // failed Append is forgiven, a failed Sync is not. After an error the writer is of no use.
  absl::Status Rewind(const std::string& upload_id, uint32_t entry, StagedWriter::Mark mark,
                      StagedWriter& writer);
  // Keeps the running digest of a synced entry, so that Digest need not read it
  // again.
  void Remember(const std::string& upload_id, uint32_t entry, const StagedWriter& writer)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // SHA-256 of the durable bytes of an entry.
  absl::StatusOr<Digest> DigestOf(const std::string& upload_id, uint32_t entry)
      ABSL_LOCKS_EXCLUDED(mutex_);

  absl::StatusOr<std::shared_ptr<const RandomAccessFile>> OpenForRead(const std::string& upload_id,
                                                                      uint32_t entry);

  // The staged checkpoint of a model as a source.
  absl::StatusOr<ContentSourcePtr> OpenCheckpoint(const store::v1::ModelRecord& model);

  // Removes the files, then the size records. Absence is fine.
  absl::Status Remove(const std::string& upload_id) ABSL_LOCKS_EXCLUDED(mutex_);
  // Removes folders of uploads for which `keep` is false.
  absl::Status RemoveStrays(const std::function<absl::StatusOr<bool>(const std::string&)>& keep);

  // Names of the folders, which are ids of uploads unless a stranger put them there.
  absl::StatusOr<std::vector<std::string>> ListFolders() { return files_->List(directory_); }

 private:
  struct Running {
    uint64_t bytes = 0;
    Sha256Hasher hasher;
  };
  std::string FolderOf(const std::string& upload_id) const;
  std::string PathOf(const std::string& upload_id, uint32_t entry) const;
  absl::StatusOr<Sha256Hasher> HashPrefix(const std::string& upload_id, uint32_t entry,
                                          uint64_t bytes);

  const std::string directory_;
  FileSystem* const files_;
  Catalog* const catalog_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<const Running>> running_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

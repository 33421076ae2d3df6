// Content that clients send before the commit that names it, by its SHA-256.
//
// Lies in files of a folder of its own until a commit has taken it or kObjectLifetime has
// passed. It is not a promise: after a restart nothing is left, and clients, who ask
// before they commit, send it again. Any thread may call it.
#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "storage/base/clock.h"
#include "storage/base/digest.h"
#include "storage/base/file_system.h"

namespace wdelta {

// A file that is removed with its last holder. Immutable.
class HubObject {
 public:
  HubObject(FileSystem* files, std::string path, const Digest& digest, uint64_t size_bytes)
      : files_(*files), path_(std::move(path)), digest_(digest), size_bytes_(size_bytes) {}
  ~HubObject() { files_.RemoveAll(path_).IgnoreError(); }
  HubObject(const HubObject&) = delete;
  HubObject& operator=(const HubObject&) = delete;

  const Digest& digest() const { return digest_; }
  uint64_t size_bytes() const { return size_bytes_; }
  absl::StatusOr<std::unique_ptr<RandomAccessFile>> Open() const {
    return files_.OpenForRead(path_);
  }

 private:
  FileSystem& files_;
  const std::string path_;
  const Digest digest_;
  const uint64_t size_bytes_;
};
using HubObjectPtr = std::shared_ptr<const HubObject>;

class HubObjects {
 public:
  // Owns none of them; all must outlive it.
  HubObjects(FileSystem* files, const Clock* clock, std::string folder)
      : files_(*files), clock_(*clock), folder_(std::move(folder)) {}

  // Empties the folder. Once, before anything else.
  absl::Status Clear();

  // Null: not here.
  HubObjectPtr Find(const Digest& digest) ABSL_LOCKS_EXCLUDED(mutex_);
  // Forgets it; whoever holds it reads on.
  void Drop(const Digest& digest) ABSL_LOCKS_EXCLUDED(mutex_);

  // Takes the bytes of one object, in order. Gone with its bytes unless kept. One thread
  // at a time.
  class Incoming {
   public:
    // Errors of AppendFile::Append; INVALID_ARGUMENT (`WRONG_SIZE`) for more than was
    // announced.
    absl::Status Append(absl::string_view data);
    // INVALID_ARGUMENT (`WRONG_SIZE`, `DIGEST_MISMATCH`): the bytes are not those that were
    // announced.
    absl::StatusOr<HubObjectPtr> Keep();

   private:
    friend class HubObjects;
    Incoming(HubObjects* objects, HubObjectPtr object, std::unique_ptr<AppendFile> file)
        : objects_(*objects), object_(std::move(object)), file_(std::move(file)) {}

    HubObjects& objects_;
    HubObjectPtr object_;
    std::unique_ptr<AppendFile> file_;
    Sha256Hasher hasher_;
    uint64_t received_bytes_ = 0;
  };
  // RESOURCE_EXHAUSTED: `TOO_MANY_OBJECTS`, `FILE_TOO_LARGE`, `DISK_FULL`.
  absl::StatusOr<std::unique_ptr<Incoming>> Receive(const Digest& digest, uint64_t size_bytes)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Kept {
    HubObjectPtr object;
    absl::Time time;
  };
  // Drops what nobody committed in time.
  void DropOld() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  FileSystem& files_;
  const Clock& clock_;
  const std::string folder_;
  absl::Mutex mutex_;
  uint64_t next_file_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<Digest, Kept> kept_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

// Content that clients send before the commit that names it, by repository and SHA-256.
//
// Lies in files of a folder of its own until a commit has taken it or
// kObjectLifetimeSeconds have passed. It is not a promise: after a restart nothing is
// left, and clients, who ask before they commit, send it again. No repository counts on
// what was sent to another, whose commit may take it away. Any thread may call it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/http/hub_requests.h"
#include "storage/base/clock.h"
#include "storage/base/digest.h"
#include "storage/base/file_system.h"
#include "storage/engine/disk/disk_guard.h"

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
  HubObjects(FileSystem* files, DiskGuard* disk, const Clock* clock, std::string folder)
      : files_(*files), disk_(*disk), clock_(*clock), folder_(std::move(folder)) {}

  // Empties the folder. Once, before anything else.
  absl::Status Clear();

  // Null: not here.
  HubObjectPtr Find(const std::string& repo, const Digest& digest) ABSL_LOCKS_EXCLUDED(mutex_);
  // Forgets it; whoever holds it reads on.
  void Drop(const std::string& repo, const Digest& digest) ABSL_LOCKS_EXCLUDED(mutex_);

  // RESOURCE_EXHAUSTED (`DISK_FULL`): the disk takes no writes, or not these bytes, without
  // what is old.
  absl::Status CheckRoom(uint64_t size_bytes) ABSL_LOCKS_EXCLUDED(mutex_);
  // Removes what nobody committed within kObjectLifetimeSeconds. Looks once in
  // kObjectSweepSeconds, however often it is called.
  void Sweep() ABSL_LOCKS_EXCLUDED(mutex_);

  // Takes the bytes of one object, in order. Gone with its bytes unless kept. One thread
  // at a time.
  class Incoming {
   public:
    // Errors of AppendFile::Append; INVALID_ARGUMENT (`WRONG_SIZE`) for more than was
    // announced; RESOURCE_EXHAUSTED (`DISK_FULL`) when something else has filled the disk.
    absl::Status Append(absl::string_view data);
    // INVALID_ARGUMENT (`WRONG_SIZE`, `DIGEST_MISMATCH`): the bytes are not those that were
    // announced.
    absl::StatusOr<HubObjectPtr> Keep();

   private:
    friend class HubObjects;
    Incoming(HubObjects* objects, std::string repo, HubObjectPtr object,
             std::unique_ptr<AppendFile> file, DiskGuard::Reservation reservation)
        : objects_(*objects),
          repo_(std::move(repo)),
          object_(std::move(object)),
          file_(std::move(file)),
          reservation_(std::move(reservation)) {}

    HubObjects& objects_;
    const std::string repo_;
    const HubObjectPtr object_;
    std::unique_ptr<AppendFile> file_;
    DiskGuard::Reservation reservation_;  // what is not written yet, and its commit's copy
    Sha256Hasher hasher_;
    uint64_t received_bytes_ = 0;
    uint64_t unchecked_bytes_ = 0;  // written since the last look at the disk
  };
  // RESOURCE_EXHAUSTED: `TOO_MANY_OBJECTS`, `FILE_TOO_LARGE`, `DISK_FULL`.
  absl::StatusOr<std::unique_ptr<Incoming>> Receive(const std::string& repo,
                                                    const ContentName& name)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Key = std::pair<std::string, Digest>;  // repository, SHA-256
  struct Kept {
    HubObjectPtr object;
    absl::Time time;
  };
  // Forgets what nobody committed in time and returns it, to be removed without the lock.
  std::vector<HubObjectPtr> TakeOld() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void RemoveOld() ABSL_LOCKS_EXCLUDED(mutex_);

  FileSystem& files_;
  DiskGuard& disk_;
  const Clock& clock_;
  const std::string folder_;
  absl::Mutex mutex_;
  uint64_t next_file_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time next_sweep_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  absl::flat_hash_map<Key, Kept> kept_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

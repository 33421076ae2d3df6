// Blobs and catalog as one simulated daemon sees them: what they acknowledge survives it, and
// what is under way when it dies may have happened or not.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/blobs/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/keys.h"
#include "tests/simulation/machine.h"

namespace wdelta::testing {

inline absl::Status StorageError(Fate fate, absl::string_view what) {
  if (fate == Fate::kDaemonIsDead) return DaemonIsDead();
  if (fate == Fate::kDiskIsFull) {
    return MakeError(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                     absl::StrCat(what, ": No space left on device"));
  }
  return absl::UnavailableError(absl::StrCat(what, ": Input/output error"));
}

// Owns neither. Used in the thread whose turn it is.
class SimulatedBlobStore final : public BlobStore {
 public:
  SimulatedBlobStore(BlobStore* inner, Machine* machine)
      : inner_(*inner), machine_(*machine), life_(machine->life()) {}

  absl::StatusOr<PutResult> Put(const Digest& digest, absl::string_view data) override {
    const Fate fate = Ask(Access::kWrite, "put", digest);
    if (fate == Fate::kWorks) return inner_.Put(digest, data);
    if (fate == Fate::kHappensAndFails) inner_.Put(digest, data).IgnoreError();
    return StorageError(fate, "blob put");
  }
  absl::StatusOr<std::string> Get(const Digest& digest, uint64_t offset, uint64_t size) override {
    const Fate fate = Ask(Access::kRead, "get", digest);
    if (fate == Fate::kWorks) return inner_.Get(digest, offset, size);
    return StorageError(fate, "blob get");
  }
  absl::StatusOr<BlobInfo> Stat(const Digest& digest) override {
    const Fate fate = Ask(Access::kRead, "stat", digest);
    if (fate == Fate::kWorks) return inner_.Stat(digest);
    return StorageError(fate, "blob stat");
  }
  absl::StatusOr<BlobPage> List(const std::string& after_hex, uint32_t limit) override {
    const Fate fate = machine_.Ask(life_, Device::kBlob, Access::kRead, "list blobs", after_hex);
    if (fate == Fate::kWorks) return inner_.List(after_hex, limit);
    return StorageError(fate, "blob list");
  }
  absl::Status Delete(const Digest& digest) override {
    const Fate fate = Ask(Access::kWrite, "delete", digest);
    if (fate == Fate::kWorks) return inner_.Delete(digest);
    if (fate == Fate::kHappensAndFails) inner_.Delete(digest).IgnoreError();
    return StorageError(fate, "blob delete");
  }

 private:
  Fate Ask(Access access, absl::string_view operation, const Digest& digest) {
    return machine_.Ask(life_, Device::kBlob, access, operation, digest.ToHex().substr(0, 16));
  }

  BlobStore& inner_;
  Machine& machine_;
  const uint64_t life_;
};

// Likewise. `on_queue_change` is called after commits that touch the queue of jobs.
class SimulatedCatalog final : public Catalog {
 public:
  SimulatedCatalog(Catalog* inner, Machine* machine, std::function<void()> on_queue_change)
      : inner_(*inner),
        machine_(*machine),
        life_(machine->life()),
        on_queue_change_(std::move(on_queue_change)) {}

  absl::StatusOr<std::optional<Record>> Get(absl::string_view key) override {
    const Fate fate = Ask(Access::kRead, "read", key);
    if (fate == Fate::kWorks) return inner_.Get(key);
    return StorageError(fate, "catalog get");
  }
  absl::StatusOr<ScanPage> Scan(const ScanRequest& request) override {
    const Fate fate = Ask(Access::kRead, "scan", request.begin);
    if (fate == Fate::kWorks) return inner_.Scan(request);
    return StorageError(fate, "catalog scan");
  }
  absl::StatusOr<uint64_t> Apply(const Commit& commit) override {
    const Fate fate = Ask(Access::kWrite, "commit", TextOf(commit));
    if (fate != Fate::kWorks && fate != Fate::kHappensAndFails) {
      return StorageError(fate, "catalog commit");
    }
    const absl::StatusOr<uint64_t> revision = inner_.Apply(commit);
    if (absl::IsAborted(revision.status())) machine_.trace.Add("  conflict");
    if (revision.ok() && TouchesQueue(commit)) on_queue_change_();
    if (fate == Fate::kHappensAndFails) return StorageError(fate, "catalog commit");
    return revision;
  }
  absl::StatusOr<uint64_t> CurrentRevision() override { return inner_.CurrentRevision(); }
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(std::string prefix, uint64_t after) override {
    return inner_.Watch(std::move(prefix), after);
  }

 private:
  Fate Ask(Access access, absl::string_view operation, absl::string_view subject) {
    return machine_.Ask(life_, Device::kCatalog, access, operation, subject);
  }
  static std::string TextOf(const Commit& commit) {
    std::string text;
    for (const Commit::Put& put : commit.puts) absl::StrAppend(&text, " +", put.key);
    for (const std::string& key : commit.deletes) absl::StrAppend(&text, " -", key);
    return text;
  }
  static bool TouchesQueue(const Commit& commit) {
    for (const Commit::Put& put : commit.puts) {
      if (absl::StartsWith(put.key, keys::kQueue)) return true;
    }
    return false;
  }

  Catalog& inner_;
  Machine& machine_;
  const uint64_t life_;
  const std::function<void()> on_queue_change_;
};

}  // namespace wdelta::testing

// Storage that calls back before changes and reads, so that tests can put other work there.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "storage/blobs/blob_store.h"
#include "storage/catalog/catalog.h"

namespace wdelta::testing {

// Owns no inner store. Hooks run in the calling thread; set them while none is there. Decoding
// of a fetch that ended may still read: what a hook uses lives as long as the store.
class HookedBlobStore final : public BlobStore {
 public:
  explicit HookedBlobStore(BlobStore* inner) : inner_(*inner) {}
  absl::StatusOr<PutResult> Put(const Digest& digest, absl::string_view data) override {
    if (before_put) {
      if (absl::Status status = before_put(); !status.ok()) return status;
    }
    return inner_.Put(digest, data);
  }
  absl::StatusOr<std::string> Get(const Digest& digest, uint64_t offset, uint64_t size) override {
    ++reads;
    if (before_get) before_get();
    return inner_.Get(digest, offset, size);
  }
  absl::StatusOr<BlobInfo> Stat(const Digest& digest) override { return inner_.Stat(digest); }
  absl::StatusOr<BlobPage> List(const std::string& after_hex, uint32_t limit) override {
    return inner_.List(after_hex, limit);
  }
  absl::Status Delete(const Digest& digest) override {
    if (before_delete) before_delete();
    return inner_.Delete(digest);
  }

  std::function<absl::Status()> before_put;  // an error keeps it from being done
  std::function<void()> before_delete;
  std::function<void()> before_get;
  std::atomic<int> reads = 0;  // calls of Get, from any thread

 private:
  BlobStore& inner_;
};

class HookedCatalog final : public Catalog {
 public:
  explicit HookedCatalog(Catalog* inner) : inner_(*inner) {}
  absl::StatusOr<std::optional<Record>> Get(absl::string_view key) override {
    return inner_.Get(key);
  }
  absl::StatusOr<ScanPage> Scan(const ScanRequest& request) override {
    return inner_.Scan(request);
  }
  absl::StatusOr<uint64_t> Apply(const Commit& commit) override {
    // Taken out first: what it does may apply commits of its own.
    const auto hook = std::exchange(before_next_apply, nullptr);
    if (hook) hook();
    return inner_.Apply(commit);
  }
  absl::StatusOr<uint64_t> CurrentRevision() override { return inner_.CurrentRevision(); }
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(std::string prefix, uint64_t after) override {
    return inner_.Watch(std::move(prefix), after);
  }

  std::function<void()> before_next_apply;  // once

 private:
  Catalog& inner_;
};

}  // namespace wdelta::testing

// A catalog in RAM: for tests, and the plain model of the contract.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/catalog/catalog.h"
#include "storage/catalog/change_log.h"

namespace wdelta {

// Any thread may call it. Nothing survives it.
class MemoryCatalog final : public Catalog {
 public:
  explicit MemoryCatalog(const ChangeLogOptions& watch = {}) : changes_(0, watch) {}

  absl::StatusOr<std::optional<Record>> Get(absl::string_view key) override;
  absl::StatusOr<ScanPage> Scan(const ScanRequest& request) override;
  absl::StatusOr<uint64_t> Apply(const Commit& commit) override;
  absl::StatusOr<uint64_t> CurrentRevision() override;
  absl::StatusOr<std::unique_ptr<Watcher>> Watch(std::string prefix,
                                                 uint64_t after_revision) override;

 private:
  struct Versioned {
    std::string value;
    uint64_t version = 0;
  };

  absl::Mutex mutex_;
  uint64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, Versioned, std::less<>> records_ ABSL_GUARDED_BY(mutex_);
  ChangeLog changes_;  // appended to under mutex_
};

}  // namespace wdelta

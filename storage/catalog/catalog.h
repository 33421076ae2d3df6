// Small records under ordered keys: what the store knows about models.
//
// Written so that etcd can implement it and several daemons can share it: changes
// are conditional on versions, and nothing assumes that this process is the only
// one. Every implementation passes tests/conformance/catalog_suite.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace wdelta {

// Revisions count commits, from 1. A record's version is the revision of the
// commit that wrote it last; absent records have version 0.
struct Record {
  std::string key;
  std::string value;
  uint64_t version = 0;
};

struct ScanRequest {
  // Keys in [begin, end); an empty end means: no end.
  std::string begin;
  std::string end;
  uint32_t limit = 0;  // at least 1
  bool reverse = false;
};

struct ScanPage {
  std::vector<Record> records;
  // More records lie behind the last one.
  bool more = false;
};

// All or nothing. Keys are not empty, and none is written twice or both written and
// deleted (INVALID_ARGUMENT).
struct Commit {
  struct Condition {
    std::string key;
    uint64_t version = 0;  // 0: the record must not exist
  };
  struct Put {
    std::string key;
    std::string value;
  };
  std::vector<Condition> conditions;
  std::vector<Put> puts;
  std::vector<std::string> deletes;  // absence is fine

  Commit& Require(std::string key, uint64_t version);
  Commit& Write(std::string key, std::string value);
  Commit& Erase(std::string key);
};

struct Change {
  std::string key;
  std::optional<std::string> value;  // nullopt: deleted
  uint64_t revision = 0;
};

// Changes under a prefix, in order of revision. One thread at a time, except
// Stop, which any thread may call.
class Watcher {
 public:
  virtual ~Watcher() = default;
  // Waits for changes until `deadline`; empty when none came or after Stop.
  // OUT_OF_RANGE: the watcher lags too far; read the records and watch anew.
  virtual absl::StatusOr<std::vector<Change>> Next(absl::Time deadline) = 0;
  virtual void Stop() = 0;
};

// Any thread may call it. Errors of every call: UNAVAILABLE (retry may help),
// RESOURCE_EXHAUSTED (`DISK_FULL`), DATA_LOSS.
class Catalog {
 public:
  virtual ~Catalog() = default;

  // Absence is nullopt, not an error.
  virtual absl::StatusOr<std::optional<Record>> Get(absl::string_view key) = 0;
  virtual absl::StatusOr<ScanPage> Scan(const ScanRequest& request) = 0;

  // Durable once it returns its revision. ABORTED (reason `CONFLICT`, detail
  // `key`) when a condition does not hold: nothing was changed.
  virtual absl::StatusOr<uint64_t> Apply(const Commit& commit) = 0;

  virtual absl::StatusOr<uint64_t> CurrentRevision() = 0;

  // Changes after `after_revision` to keys that start with `prefix`.
  // OUT_OF_RANGE when changes since then are no longer kept. The watcher must not
  // outlive the catalog.
  virtual absl::StatusOr<std::unique_ptr<Watcher>> Watch(std::string prefix,
                                                         uint64_t after_revision) = 0;
};

// The least key greater than every key with this prefix; empty: none.
std::string PrefixEnd(absl::string_view prefix);

}  // namespace wdelta

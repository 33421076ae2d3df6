// How many models there are and what they take, kept up to date change by change.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "store/v1/records.pb.h"

namespace wdelta {

enum class ModelKind {
  kRoot,      // no declared parent
  kFineTune,  // one
  kMerge,     // several, or computed from others
};

struct ModelTotals {
  uint64_t model_count = 0;
  uint64_t logical_bytes = 0;  // as they are served
  // Of their `.wdelta` files, or as uploaded while they are staged. What several models share
  // is counted for each.
  uint64_t stored_bytes = 0;
};

// Knows the records that it was given. Memory grows by about a hundred bytes for each. One
// thread at a time.
class ModelTally {
 public:
  using Key = std::pair<ModelKind, store::v1::ModelRecord::State>;
  using Totals = std::map<Key, ModelTotals>;

  // Adds a model or replaces what is known of it.
  void Put(const std::string& id, const store::v1::ModelRecord& model);
  // Absence is fine.
  void Erase(const std::string& id);

  // A key stays, with zeros, once it was there.
  const Totals& totals() const { return totals_; }

 private:
  struct Entry {
    Key key;
    uint64_t logical_bytes = 0;
    uint64_t stored_bytes = 0;
  };

  absl::flat_hash_map<std::string, Entry> entries_;
  Totals totals_;
};

}  // namespace wdelta

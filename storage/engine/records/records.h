// Catalog records as protobuf messages.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/catalog.h"

namespace wdelta {

template <typename T>
struct Versioned {
  T message;
  uint64_t version = 0;
};

// DATA_LOSS, naming the key, when the value is not a T.
template <typename T>
absl::StatusOr<Versioned<T>> ParseRecord(const Record& record) {
  Versioned<T> versioned;
  versioned.version = record.version;
  if (!versioned.message.ParseFromString(record.value)) {
    return absl::DataLossError(absl::StrCat("catalog record ", record.key, " is damaged"));
  }
  return versioned;
}

// Absence is nullopt.
template <typename T>
absl::StatusOr<std::optional<Versioned<T>>> ReadRecord(Catalog& catalog, absl::string_view key) {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Record> record, catalog.Get(key));
  if (!record.has_value()) return std::optional<Versioned<T>>();
  WDELTA_ASSIGN_OR_RETURN(Versioned<T> versioned, ParseRecord<T>(*record));
  return std::optional<Versioned<T>>(std::move(versioned));
}

inline int64_t ToMicros(absl::Time time) { return absl::ToUnixMicros(time); }

// All keys with a prefix, without the prefix, in order.
inline absl::StatusOr<std::vector<std::string>> ScanKeySuffixes(Catalog& catalog,
                                                                const std::string& prefix) {
  constexpr uint32_t kScanRecords = 1000;
  std::vector<std::string> suffixes;
  ScanRequest request{prefix, PrefixEnd(prefix), kScanRecords, false};
  while (true) {
    WDELTA_ASSIGN_OR_RETURN(const ScanPage page, catalog.Scan(request));
    for (const Record& record : page.records) suffixes.push_back(record.key.substr(prefix.size()));
    if (!page.more || page.records.empty()) return suffixes;
    request.begin = page.records.back().key + '\0';
  }
}

// True when at least one key has the prefix.
inline absl::StatusOr<bool> AnyWithPrefix(Catalog& catalog, const std::string& prefix) {
  WDELTA_ASSIGN_OR_RETURN(const ScanPage page, catalog.Scan({prefix, PrefixEnd(prefix), 1, false}));
  return !page.records.empty();
}

// Repeats an optimistic read-change-commit while it ends in ABORTED, a few times.
template <typename Body>
auto RetryOnConflict(Body body) -> decltype(body()) {
  constexpr int kAttempts = 16;
  for (int attempt = 1;; ++attempt) {
    auto result = body();
    const absl::Status* status;
    if constexpr (std::is_same_v<decltype(result), absl::Status>) {
      status = &result;
    } else {
      status = &result.status();
    }
    if (!absl::IsAborted(*status) || attempt == kAttempts) return result;
  }
}

}  // namespace wdelta

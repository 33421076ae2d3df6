// What is so on the disk, where a commit's answer was lost.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "storage/catalog/catalog.h"

namespace wdelta {

// OK: the record has this version (0: it is absent), and no commit that failed before will change
// that. Reads alone cannot tell: what a failed commit wrote may be there all the same, and may be
// seen no earlier than with the next commit. This is one, of nothing. To be called before what
// cannot be taken back, by whoever knows that nobody else writes the record.
// ABORTED (`CONFLICT`): it has another version; other errors of Catalog::Apply: nobody can tell.
// Any thread may call it.
inline absl::Status ConfirmVersion(Catalog& catalog, std::string key, uint64_t version) {
  Commit nothing;
  nothing.Require(std::move(key), version);
  return catalog.Apply(nothing).status();
}

}  // namespace wdelta

// Which models a caller may name.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace wdelta {

// OK: the caller may name this model. Empty: it may name all. Any thread.
using NameCheck = std::function<absl::Status(absl::string_view model_name)>;

inline bool MayName(const NameCheck& check, absl::string_view model_name) {
  return check == nullptr || check(model_name).ok();
}

// NOT_FOUND (`MODEL_NOT_FOUND`), as Models::Resolve says it.
absl::Status ModelNotFound(absl::string_view reference);

// Of a model of that name which was found by `reference`: what the check says where the reference
// itself writes a name that is not allowed, or else what Models::Resolve says of a model that is
// not there, so that ids, digests and tags tell nothing of others' models.
absl::Status CheckFound(const NameCheck& check, absl::string_view reference,
                        absl::string_view model_name);

}  // namespace wdelta

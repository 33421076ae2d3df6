// What clients may call things: model references, names, tags, labels.
// All checks are INVALID_ARGUMENT with reason `BAD_REFERENCE`, `BAD_NAME`,
// `BAD_TAG`, `BAD_AUTHOR`, `BAD_LABELS` or `BAD_METADATA`, and say which rule was broken.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

// `NAME`, `NAME@TAG`, `sha256:HEX` or `id:ID`.
struct ModelReference {
  enum class Kind { kName, kTag, kDigest, kId };
  Kind kind = Kind::kName;
  std::string name;    // kName, kTag
  std::string tag;     // kTag
  std::string digest;  // kDigest: hex digits, possibly a prefix
  std::string id;      // kId
};

absl::StatusOr<ModelReference> ParseModelReference(absl::string_view text);

// `name` or `namespace/name`; each part 1 to kMaxNamePartBytes of
// `[A-Za-z0-9_.-]`, not starting with `.` or `-`, without `..` and `--`, and not
// ending with `.git`.
absl::Status ValidateName(absl::string_view name);

// 1 to kMaxTagBytes of `[A-Za-z0-9_.-]`, not starting with `.` or `-`.
absl::Status ValidateTag(absl::string_view tag);

// Who changed something: at most kMaxAuthorBytes of UTF-8 without control characters or
// spaces at its ends; may be empty.
absl::Status ValidateAuthor(absl::string_view author);

using StringMap = std::map<std::string, std::string>;

// Valid UTF-8 within kMaxLabels and kMaxLabelBytes; keys are not empty.
absl::Status ValidateLabels(const StringMap& labels);
// Valid UTF-8 within kMaxMetadataBytes; keys are not empty.
absl::Status ValidateMetadata(const StringMap& metadata);

// Of metadata that a client gives: ValidateMetadata, and no key that starts with `merge.`,
// which the store writes itself, but as `kept` has it. INVALID_ARGUMENT (`BAD_METADATA`).
absl::Status ValidateClientMetadata(const StringMap& metadata, const StringMap& kept = {});

}  // namespace wdelta

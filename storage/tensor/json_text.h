// Untrusted JSON text as a series of events, and the text helpers around it.
//
// Nothing is kept but the token being read, so that memory is the visitor's to
// bound; nesting is bounded by kMaxJsonDepth. No exception leaves these
// functions. Free functions are safe in any thread.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

struct JsonScalar {
  enum class Kind { kNull, kBool, kUnsigned, kOtherNumber, kString };
  Kind kind = Kind::kNull;
  uint64_t number = 0;  // of kUnsigned
  std::string text;     // content of a string, otherwise the value as text
};

// Receives the events of one text in order. A failed status ends the visit and is
// its result.
class JsonVisitor {
 public:
  virtual ~JsonVisitor() = default;
  virtual absl::Status OnStartObject() = 0;
  virtual absl::Status OnKey(std::string key) = 0;
  virtual absl::Status OnEndObject() = 0;
  virtual absl::Status OnStartArray() = 0;
  virtual absl::Status OnEndArray() = 0;
  virtual absl::Status OnScalar(JsonScalar scalar) = 0;
};

// INVALID_ARGUMENT with the position for what is not one JSON value (RFC 8259) in
// UTF-8, surrounded at most by white space. Keys given twice are the visitor's to
// find.
absl::Status VisitJson(absl::string_view json, JsonVisitor& visitor);

// `text` as a JSON string with its quotes. INVALID_ARGUMENT unless it is UTF-8.
absl::StatusOr<std::string> QuoteJson(absl::string_view text);

// `text` in single quotes for an error message: one line, valid UTF-8, cut when
// long.
std::string Excerpt(absl::string_view text);

}  // namespace wdelta

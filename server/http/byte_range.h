// The `Range` of a request (RFC 9110, 14.2). Pure functions; any thread.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace wdelta {

// What of a file a request asks for.
struct RequestedBytes {
  enum class Kind {
    kAll,            // no range, several, or one that is none: all is sent
    kPart,           // [offset, offset + size), size > 0
    kUnsatisfiable,  // begins behind the end
  };
  Kind kind = Kind::kAll;
  uint64_t offset = 0;
  uint64_t size = 0;
};

// `range` is the value of the header; empty: none.
RequestedBytes ParseByteRange(absl::string_view range, uint64_t file_bytes);

}  // namespace wdelta

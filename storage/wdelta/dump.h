// What a `.wdelta` file says of itself, for people and for programs. Needs no
// parent and decodes no chunk. No state: any thread may call it.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "storage/wdelta/wdelta_reader.h"

namespace wdelta {

// Header fields, a table of files, a table of streams (name, dtype, shape, parent,
// raw and stored bytes, ratio, chunks by mode) and totals.
absl::StatusOr<std::string> DumpText(const WdeltaReader& reader);

// The same as one JSON object; names are stable. Bytes that are not UTF-8 in
// tensor names become U+FFFD. INTERNAL when JSON cannot be made.
absl::StatusOr<std::string> DumpJson(const WdeltaReader& reader);

}  // namespace wdelta

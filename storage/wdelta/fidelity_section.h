// The fidelity section of a `.wdelta` file, as FORMAT.md gives it. Private to the room;
// no state, any thread may call it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "storage/base/byte_reader.h"
#include "storage/wdelta/wdelta_file.h"

namespace wdelta {

std::string SerializeFidelity(const WdeltaFidelity& fidelity);

// Fills `file.fidelity`; its streams must have been parsed. BAD_WDELTA,
// UNSUPPORTED_WDELTA for a strategy of a later version.
absl::Status ParseFidelity(ByteReader& reader, WdeltaFile& file);

}  // namespace wdelta

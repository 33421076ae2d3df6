// Parts of tensors as they stand on the command line. Pure functions; INVALID_ARGUMENT
// names the text and says what was expected.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/tensor/slice_rules.h"

namespace wdelta {

// `[PATTERN:]AXIS=START:STOP`; an empty START is 0, an empty STOP the end of the axis.
absl::StatusOr<SliceRule> ParseSlice(absl::string_view text);

// `[PATTERN:]AXIS=I/N`: part I, from 0, of N equal ones.
absl::StatusOr<SliceRule> ParseShard(absl::string_view text);

}  // namespace wdelta

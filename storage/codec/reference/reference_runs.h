// A slow decoder of runs of symbols, written straight from FORMAT.md ("Runs"). Shares
// no code with the codec. No state: any thread may call it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta::reference {

// Removes the runs from the front of `rest`; counts are of symbols by run. DATA_LOSS
// for bytes that are no runs of such counts, or have more lanes.
absl::StatusOr<std::vector<std::vector<uint8_t>>> TakeRuns(absl::string_view& rest,
                                                           const std::vector<size_t>& counts,
                                                           size_t most_lanes = 32);

// Removes and returns the first `count` bytes of `rest`. DATA_LOSS when it is shorter.
absl::StatusOr<absl::string_view> Take(absl::string_view& rest, uint64_t count);
absl::StatusOr<uint64_t> TakeVarint(absl::string_view& rest);

}  // namespace wdelta::reference

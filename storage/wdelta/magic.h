// What `.wdelta` files of all versions begin with: what does not is something else, and not a
// damaged one.
#pragma once

#include "absl/strings/string_view.h"

namespace wdelta::format {

inline constexpr absl::string_view kMagic("wdelta\0", 7);

}  // namespace wdelta::format

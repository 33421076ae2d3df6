// What a model card (README.md) says of a model's origin. Pure functions; any thread.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace wdelta {

// The names under `base_model` in the card's YAML front matter, at most kMaxParents, as
// they are written: one, a list in brackets, or a list of lines with dashes. Only so much
// YAML is understood; what is written otherwise, and cards without it, give none.
std::vector<std::string> BaseModelsOf(absl::string_view card);

}  // namespace wdelta

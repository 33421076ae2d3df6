// UTF-8 validation (RFC 3629): no overlong forms, no surrogates, nothing beyond
// U+10FFFF.
#pragma once

#include "absl/strings/string_view.h"

namespace wdelta {

bool IsValidUtf8(absl::string_view text);

}  // namespace wdelta

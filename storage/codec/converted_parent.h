// Parents whose tensors have another dtype: their numbers, converted, are what chunks are coded
// against. Specified in storage/wdelta/FORMAT.md ("Converted parents").
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "storage/tensor/dtype.h"

namespace wdelta {

// True for two different ones of F16, BF16, F32 and F64.
bool CanConvert(DType from, DType to);

// Fills `converted` with the numbers in `bytes`, whole lanes of `from`, as lanes of `to`; the
// two CanConvert. Any thread.
void ConvertNumbers(DType from, absl::string_view bytes, DType to, std::string& converted);

}  // namespace wdelta

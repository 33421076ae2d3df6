#include "storage/codec/converted_parent.h"

#include "storage/codec/kernels/convert_kernels.h"
#include "storage/codec/lossy.h"

namespace wdelta {

bool CanConvert(DType from, DType to) { return from != to && CanBeLossy(from) && CanBeLossy(to); }

void ConvertNumbers(DType from, absl::string_view bytes, DType to, std::string& converted) {
  const size_t count = bytes.size() / LaneBytes(from);
  converted.resize(count * LaneBytes(to));
  kernels::Convert(from, reinterpret_cast<const uint8_t*>(bytes.data()), to, count,
                   reinterpret_cast<uint8_t*>(converted.data()));
}

}  // namespace wdelta

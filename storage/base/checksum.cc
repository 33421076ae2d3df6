#include "storage/base/checksum.h"

#include <isa-l/crc.h>
// Picks the widest vectors of this machine, in the library as Debian builds it.
#if defined(__x86_64__)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

#include <algorithm>
#include <cstddef>

namespace wdelta {

uint32_t Crc32c(absl::string_view data) { return ExtendCrc32c(0, data); }

uint32_t ExtendCrc32c(uint32_t crc, absl::string_view data) {
  // ISA-L takes an int length and works on the inverted register.
  constexpr size_t kMaxRunBytes = size_t{1} << 30;
  uint32_t inverted = ~crc;
  while (!data.empty()) {
    const size_t run_bytes = std::min(data.size(), kMaxRunBytes);
    auto* bytes = reinterpret_cast<unsigned char*>(const_cast<char*>(data.data()));
    inverted = crc32_iscsi(bytes, static_cast<int>(run_bytes), inverted);
    data.remove_prefix(run_bytes);
  }
  return ~inverted;
}

uint64_t Xxh3(absl::string_view data) { return XXH3_64bits(data.data(), data.size()); }

}  // namespace wdelta

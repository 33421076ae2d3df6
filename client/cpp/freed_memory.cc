#include "client/cpp/freed_memory.h"

#include <stdlib.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace wdelta {

void KeepFreedMemory() {
#if defined(__GLIBC__)
  constexpr int kKeptBytes = 16 << 20;
  constexpr int kMaxHeapBlockBytes = 32 << 20;  // the most that glibc takes
  mallopt(M_TRIM_THRESHOLD, kKeptBytes);
  mallopt(M_MMAP_THRESHOLD, kMaxHeapBlockBytes);
#endif
}

}  // namespace wdelta

// V1Reader on any bytes, in two ways: as a whole file, and with magic, version and a
// checksum that hold, which the fuzzer could not find by itself. What opens is also
// dumped and decoded.
#include <algorithm>
#include <string>

#include "storage/wdelta/v1/dump.h"
#include "tests/wdelta/v1_bytes.h"

namespace {

using namespace wdelta;  // NOLINT: a program of one function

void ReadAll(std::string bytes) {
  const auto reader = OpenV1Bytes(std::move(bytes));
  if (!reader.ok()) return;
  (void)DumpV1Text(**reader);
  (void)DumpV1Json(**reader);
  // A sparse tensor may be large and hold nothing: look at its ends.
  constexpr uint64_t kMostValues = 100000;
  for (uint32_t t = 0; t < (*reader)->file().tensors.size(); ++t) {
    const uint64_t count = (*reader)->file().tensors[t].element_count;
    std::vector<float> values(std::min(count, kMostValues), 1.0f);
    for (const uint64_t first : {uint64_t{0}, count - values.size()}) {
      const absl::Status status = (*reader)->AddDelta(t, first, absl::MakeSpan(values));
      if (!status.ok()) std::abort();  // Open checks all that AddDelta relies on
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.empty()) return 0;
  if (bytes[0] == 'w') {
    ReadAll(bytes);
  } else {
    ReadAll(SealV1(std::string("wdelta\0\1\0\0\0", 11) + bytes.substr(1)));
  }
  return 0;
}

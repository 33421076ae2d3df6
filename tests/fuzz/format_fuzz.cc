// What lies in a data folder, as any bytes: the FORMAT file, after an `F`; otherwise records of
// the catalog (stored_records.h).
#include <cstdint>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/engine/disk/data_dir.h"
#include "tests/fuzz/stored_records.h"

namespace {

void ReadFormat(absl::string_view text) {
  const absl::StatusOr<int> format = wdelta::DataDir::ParseFormat("/data", text);
  if (!format.ok()) {
    if (!absl::IsFailedPrecondition(format.status())) std::abort();
    return;
  }
  if (*format < 1 || *format > wdelta::kDataFormat) std::abort();
  // What is taken is what a daemon writes.
  if (text != absl::StrCat("wdelta-data ", *format, "\n") &&
      !absl::StartsWith(text, "wdelta-data 0")) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (!bytes.empty() && bytes[0] == 'F') {
    ReadFormat(bytes.substr(1));
  } else {
    wdelta::testing::ReadStore(wdelta::testing::SplitValues(bytes));
  }
  return 0;
}

#include "client/cpp/local_delta.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "client/cpp/local_files.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/wdelta/magic.h"

namespace wdelta {

absl::Status CheckIsDelta(const std::string& file_name, const RandomAccessFile& file) {
  const absl::StatusOr<uint64_t> size_bytes = file.SizeBytes();
  WDELTA_RETURN_IF_ERROR(LocalFileError(size_bytes.status()));
  const auto is_not_one = [&](absl::string_view found) {
    return MakeError(absl::StatusCode::kInvalidArgument, "BAD_WDELTA",
                     absl::StrCat(file_name, ": expected a `.wdelta` file, found ", found),
                     {{"file", file_name}});
  };
  if (*size_bytes == 0) return is_not_one("an empty file");
  std::string begin(std::min<uint64_t>(*size_bytes, format::kMagic.size()), '\0');
  WDELTA_RETURN_IF_ERROR(LocalFileError(file.Read(0, begin.data(), begin.size())));
  return begin == format::kMagic ? absl::OkStatus() : is_not_one("another magic at its beginning");
}

}  // namespace wdelta

#include "storage/base/small_file.h"

#include <cerrno>
#include <fstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace wdelta {

absl::StatusOr<std::string> ReadSmallFile(const std::string& path, size_t max_bytes) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(max_bytes + 1, '\0');
  if (file) file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file && !file.eof()) {
    const int error = errno;
    const std::string message = absl::StrCat(path, ": cannot be read");
    return absl::NotFoundError(error == 0 ? message
                                          : absl::ErrnoToStatus(error, message).message());
  }
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected at most ", max_bytes, " bytes"));
  }
  return text;
}

}  // namespace wdelta

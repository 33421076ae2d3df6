// The parts that a fetch is made of, each measured alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"

namespace wdelta::bench {

// The `.wdelta` of a model, as stored, to `path`.
absl::Status SaveStoredDelta(Client& client, const std::string& model, const std::string& path);

// What came of a stream of FetchFile that was read to its end and dropped.
struct Dropped {
  uint64_t bytes = 0;
  double first_piece_seconds = 0;
  double seconds = 0;
};
absl::StatusOr<Dropped> DropFile(Client& client, const v1::FetchFileRequest& request);

// The same over HTTP. `target`: path of the URL. `first_byte`, `last_byte`: a range; none when
// last_byte is 0. INTERNAL when the answer is neither 200 nor 206.
absl::StatusOr<Dropped> DropDownload(const std::string& address, const std::string& target,
                                     uint64_t first_byte = 0, uint64_t last_byte = 0);

// Seconds of reading a file in pieces of 1 MiB, as `cat` does.
absl::StatusOr<double> CatSeconds(const std::filesystem::path& file);

}  // namespace wdelta::bench

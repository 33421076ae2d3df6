// Chunks of a `.wdelta` against a parent that nobody has hashed, for benchmarks of decoding.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/codec/codec.h"
#include "storage/engine/content/content_source.h"
#include "storage/wdelta/wdelta_reader.h"

namespace wdelta::bench {

// Scratch memory of one thread. Owns neither the file nor the parent; both must outlive it.
class ChunkLoader {
 public:
  ChunkLoader(const WdeltaReader* reader, const ContentSource* parent)
      : reader_(*reader), parent_(*parent) {}

  // Reads what the chunk is coded against, as it lies there. DATA_LOSS when the parent lacks it.
  absl::Status Prepare(uint32_t stream, uint64_t chunk);
  // Decodes the chunk that was prepared last, once.
  absl::Status Decode(char* destination);

 private:
  const WdeltaReader& reader_;
  const ContentSource& parent_;
  ChunkCodec codec_;
  uint32_t stream_ = 0;
  uint64_t chunk_ = 0;
  std::string bytes_;  // the parent's
  std::string converted_;
  std::string factors_;  // of `factors_stream_`
  std::optional<uint32_t> factors_stream_;
  std::vector<float> scratch_;
};

// CPU seconds of decoding a `.wdelta` over the parent's folder in one thread, both in the page
// cache: what the codec's kernels take, corrections and conversions of the parent and checksums of
// payloads and chunks included. The time of reading the parent is left out.
absl::StatusOr<double> DecodeCpuSeconds(const std::string& wdelta_path,
                                        const std::string& parent_folder);

}  // namespace wdelta::bench

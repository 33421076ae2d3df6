// WdeltaReader on any bytes, in two ways: as a whole file, and as metadata put
// under checksums that hold, which the fuzzer could not find by itself.
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "storage/base/byte_reader.h"
#include "storage/base/checksum.h"
#include "storage/base/file_system.h"
#include "storage/wdelta/dump.h"
#include "storage/wdelta/format.h"
#include "storage/wdelta/wdelta_reader.h"

namespace {

using namespace wdelta;  // NOLINT: a program of one function

class BytesFile final : public RandomAccessFile {
 public:
  explicit BytesFile(std::string bytes) : bytes_(std::move(bytes)) {}
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    if (offset > bytes_.size() || size > bytes_.size() - offset) {
      return absl::DataLossError("read past the end");
    }
    std::memcpy(destination, bytes_.data() + offset, size);
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return bytes_.size(); }

 private:
  std::string bytes_;
};

// A file of `payload` and `metadata` whose checksums are right.
std::string Assemble(absl::string_view payload, absl::string_view metadata) {
  std::string preamble(format::kMagic);
  AppendU32(preamble, kWdeltaVersion);
  preamble.append(format::kPreambleReservedBytes, '\0');
  std::string stored(ZSTD_compressBound(metadata.size()), '\0');
  stored.resize(ZSTD_compress(stored.data(), stored.size(), metadata.data(), metadata.size(), 1));
  std::string out = preamble + std::string(payload) + stored;
  AppendU64(out, preamble.size() + payload.size());
  AppendU64(out, stored.size());
  AppendU64(out, metadata.size());
  AppendU32(out, Crc32c(stored));
  AppendU32(out, kWdeltaVersion);
  out += Digest::Of(preamble + stored).ToBytes();
  out.append(format::kFooterReservedBytes, '\0');
  out.append(format::kEndMagic.data(), format::kEndMagic.size());
  return out;
}

void ReadAll(std::string bytes) {
  const auto reader = WdeltaReader::Open(std::make_shared<BytesFile>(std::move(bytes)));
  if (!reader.ok()) return;
  const WdeltaFile& file = (*reader)->file();
  (void)DumpText(**reader);
  (void)DumpJson(**reader);
  ChunkCodec codec;
  // A const chunk of 4 MiB takes no input bytes: a few are enough.
  constexpr uint64_t kMostChunks = 16;
  for (uint32_t s = 0; s < file.streams.size(); ++s) {
    const WdeltaStream& stream = file.streams[s];
    if (const auto factors = (*reader)->ReadFactors(s); factors.ok()) {
      std::string numbers(SpanOfChunk(file, stream, 0).size_bytes, 'n');
      std::vector<float> scratch;
      CorrectNumbers(stream.info.tensor, stream.correction->form, *factors, 0, numbers, scratch);
    }
    for (uint64_t i = 0; i < std::min(file.streams[s].chunk_count, kMostChunks); ++i) {
      std::string out(SpanOfChunk(file, file.streams[s], i).size_bytes, '\0');
      (void)(*reader)->DecodeChunk(codec, s, i, absl::string_view("parent").substr(0, out.size()),
                                   out.data());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.empty()) return 0;
  if (bytes[0] == 'w') {
    ReadAll(std::string(bytes));
    return 0;
  }
  const size_t payload_bytes =
      std::min<size_t>(static_cast<uint8_t>(bytes[0]) % 64, bytes.size() - 1);
  ReadAll(Assemble(bytes.substr(1, payload_bytes), bytes.substr(1 + payload_bytes)));
  return 0;
}

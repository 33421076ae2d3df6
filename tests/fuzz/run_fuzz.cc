// RunDecoder::Read on any bytes, against the reference decoder.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "storage/codec/entropy/run_coder.h"
#include "storage/codec/reference/reference_runs.h"

namespace {

using namespace wdelta;  // NOLINT: a program of one function

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t runs = data[0] % 6;
  if (size < 1 + runs) return 0;
  std::vector<size_t> counts;
  size_t total = 0;
  for (size_t r = 0; r < runs; ++r) {
    counts.push_back(size_t{data[1 + r]} * 3);
    total += counts.back();
  }
  absl::string_view bytes(reinterpret_cast<const char*>(data) + 1 + runs, size - 1 - runs);
  std::vector<uint8_t> symbols(total + RunDecoder::kOverrunBytes);
  ByteReader reader(bytes);
  RunDecoder decoder;
  const absl::Status status = decoder.Read(reader, counts, symbols.data());
  const auto reference = reference::TakeRuns(bytes, counts);
  Require(status.ok() == reference.ok());
  if (!status.ok()) return 0;
  Require(reader.remaining() == bytes.size());
  size_t at = 0;
  for (const std::vector<uint8_t>& run : *reference) {
    for (const uint8_t symbol : run) Require(symbols[at++] == symbol);
  }
  return 0;
}

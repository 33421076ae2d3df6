// The header parser on any JSON and file size. What it accepts must fill the file
// from the header to the end.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "storage/tensor/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint32_t body_bytes = 0;
  if (size < sizeof(body_bytes)) return 0;
  std::memcpy(&body_bytes, data, sizeof(body_bytes));
  const absl::string_view json(reinterpret_cast<const char*>(data) + sizeof(body_bytes),
                               size - sizeof(body_bytes));
  // Small bodies are what a fuzzer can hit.
  const uint64_t header_bytes = 8 + json.size();
  const uint64_t file_bytes = header_bytes + body_bytes % 256;
  const absl::StatusOr<wdelta::SafetensorsLayout> layout =
      wdelta::ParseSafetensorsHeader(json, file_bytes);
  if (!layout.ok()) return 0;
  uint64_t end = layout->header_bytes;
  for (const wdelta::TensorInfo& tensor : layout->tensors) {
    if (tensor.offset_bytes != end) std::abort();
    end += tensor.size_bytes;
  }
  if (end != file_bytes) std::abort();
  return 0;
}

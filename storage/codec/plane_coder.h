// One byte plane to its stored form and back: raw, a zstd frame, or one repeated
// byte, behind a byte that says which. Specified in storage/wdelta/FORMAT.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/base/byte_reader.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace wdelta {

// Values are part of the `.wdelta` format.
enum class PlaneMethod : uint8_t {
  kRaw = 0,   // the bytes themselves
  kZstd = 1,  // varint size, then one zstd frame
  kFill = 2,  // one byte, repeated
};

// Owns its zstd contexts: one thread at a time.
class PlaneCoder {
 public:
  PlaneCoder();
  ~PlaneCoder();
  PlaneCoder(PlaneCoder&&) noexcept;
  PlaneCoder& operator=(PlaneCoder&&) noexcept;

  // Appends `plane` (not empty) in the form that stores smallest; zstd must gain a
  // hundredth, since a raw plane decodes for free. INTERNAL when zstd fails.
  absl::Status Append(absl::string_view plane, std::string& out);

  // Reads a plane of `size` bytes: a view into the reader's bytes when it is stored
  // raw, else into `scratch`, which has room for `size`. DATA_LOSS when what is
  // stored is no plane of that size.
  absl::StatusOr<const uint8_t*> Read(ByteReader& reader, size_t size, uint8_t* scratch);

 private:
  struct FreeCompressor {
    void operator()(ZSTD_CCtx_s* context) const;
  };
  struct FreeDecompressor {
    void operator()(ZSTD_DCtx_s* context) const;
  };

  std::unique_ptr<ZSTD_CCtx_s, FreeCompressor> compressor_;
  std::unique_ptr<ZSTD_DCtx_s, FreeDecompressor> decompressor_;
  std::unique_ptr<char[]> frame_;  // room for a compressed plane
  size_t frame_capacity_ = 0;
};

}  // namespace wdelta

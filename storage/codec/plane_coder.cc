#include "storage/codec/plane_coder.h"

#include <zstd.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr int kZstdLevel = 1;
constexpr size_t kLeastGainDivisor = 100;

bool IsOneByteRepeated(absl::string_view plane) {
  return std::memcmp(plane.data(), plane.data() + 1, plane.size() - 1) == 0;
}

// DATA_LOSS unless `frame` is exactly one zstd frame that decodes to `size` bytes.
absl::Status Decompress(ZSTD_DCtx* context, absl::string_view frame, size_t size,
                        uint8_t* destination) {
  const size_t frame_bytes = ZSTD_findFrameCompressedSize(frame.data(), frame.size());
  if (ZSTD_isError(frame_bytes) || frame_bytes != frame.size()) {
    return absl::DataLossError(
        absl::StrCat("plane: expected one zstd frame of ", frame.size(), " bytes, found ",
                     ZSTD_isError(frame_bytes) ? ZSTD_getErrorName(frame_bytes) : "a shorter one"));
  }
  const size_t decoded =
      ZSTD_decompressDCtx(context, destination, size, frame.data(), frame.size());
  if (ZSTD_isError(decoded)) {
    return absl::DataLossError(absl::StrCat("plane: zstd: ", ZSTD_getErrorName(decoded)));
  }
  if (decoded != size) {
    return absl::DataLossError(
        absl::StrCat("plane: expected ", size, " decoded bytes, found ", decoded));
  }
  return absl::OkStatus();
}

}  // namespace

void PlaneCoder::FreeCompressor::operator()(ZSTD_CCtx_s* context) const { ZSTD_freeCCtx(context); }

void PlaneCoder::FreeDecompressor::operator()(ZSTD_DCtx_s* context) const {
  ZSTD_freeDCtx(context);
}

PlaneCoder::PlaneCoder() = default;
PlaneCoder::~PlaneCoder() = default;
PlaneCoder::PlaneCoder(PlaneCoder&&) noexcept = default;
PlaneCoder& PlaneCoder::operator=(PlaneCoder&&) noexcept = default;

absl::Status PlaneCoder::Append(absl::string_view plane, std::string& out) {
  if (IsOneByteRepeated(plane)) {
    AppendU8(out, static_cast<uint8_t>(PlaneMethod::kFill));
    out.push_back(plane.front());
    return absl::OkStatus();
  }
  if (compressor_ == nullptr) compressor_.reset(ZSTD_createCCtx());
  const size_t bound = ZSTD_compressBound(plane.size());
  if (frame_capacity_ < bound) {
    frame_ = std::make_unique<char[]>(bound);
    frame_capacity_ = bound;
  }
  const size_t frame_bytes = ZSTD_compressCCtx(compressor_.get(), frame_.get(), bound, plane.data(),
                                               plane.size(), kZstdLevel);
  if (ZSTD_isError(frame_bytes)) {
    return absl::InternalError(absl::StrCat("zstd: ", ZSTD_getErrorName(frame_bytes)));
  }
  if (frame_bytes + 1 + plane.size() / kLeastGainDivisor < plane.size()) {
    AppendU8(out, static_cast<uint8_t>(PlaneMethod::kZstd));
    AppendSizedBytes(out, absl::string_view(frame_.get(), frame_bytes));
  } else {
    AppendU8(out, static_cast<uint8_t>(PlaneMethod::kRaw));
    out.append(plane.data(), plane.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<const uint8_t*> PlaneCoder::Read(ByteReader& reader, size_t size, uint8_t* scratch) {
  WDELTA_ASSIGN_OR_RETURN(const uint8_t method, reader.ReadU8("plane method"));
  switch (static_cast<PlaneMethod>(method)) {
    case PlaneMethod::kRaw: {
      WDELTA_ASSIGN_OR_RETURN(const absl::string_view raw, reader.ReadBytes(size, "raw plane"));
      return reinterpret_cast<const uint8_t*>(raw.data());
    }
    case PlaneMethod::kFill: {
      WDELTA_ASSIGN_OR_RETURN(const uint8_t byte, reader.ReadU8("plane's byte"));
      std::memset(scratch, byte, size);
      return scratch;
    }
    case PlaneMethod::kZstd: {
      WDELTA_ASSIGN_OR_RETURN(const absl::string_view frame,
                              reader.ReadSizedBytes(reader.remaining(), "zstd plane"));
      if (decompressor_ == nullptr) decompressor_.reset(ZSTD_createDCtx());
      WDELTA_RETURN_IF_ERROR(Decompress(decompressor_.get(), frame, size, scratch));
      return scratch;
    }
  }
  return absl::DataLossError(absl::StrCat("plane method: expected 0, 1 or 2, found ", method));
}

}  // namespace wdelta

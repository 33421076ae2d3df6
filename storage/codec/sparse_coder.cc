#include "storage/codec/sparse_coder.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "storage/base/byte_reader.h"
#include "storage/base/status_macros.h"
#include "storage/codec/kernels/lane_types.h"

namespace wdelta {
namespace {

using kernels::portable::Load;
using kernels::portable::SpreadTopBit;

template <typename T>
T ToOrdered(LaneFormat format, T lane) {
  return format.sign_magnitude ? kernels::portable::ToMonotone(lane) : lane;
}

template <typename T>
void EncodeOf(LaneFormat format, const uint8_t* target, const uint8_t* parent, size_t lanes,
              std::string& out) {
  size_t next = 0;
  for (size_t i = 0; i < lanes; ++i) {
    const T t = Load<T>(target + i * sizeof(T));
    const T p = Load<T>(parent + i * sizeof(T));
    if (t == p) continue;
    AppendVarint(out, i - next);
    const T difference = static_cast<T>(ToOrdered(format, t) - ToOrdered(format, p));
    AppendVarint(out, static_cast<T>(static_cast<T>(difference << 1) ^ SpreadTopBit(difference)));
    next = i + 1;
  }
}

template <typename T>
absl::Status DecodeOf(LaneFormat format, ByteReader& reader, const uint8_t* parent, size_t lanes,
                      uint8_t* target) {
  size_t next = 0;
  while (reader.remaining() > 0) {
    WDELTA_ASSIGN_OR_RETURN(const uint64_t gap, reader.ReadVarint("gap"));
    if (gap >= lanes - next) {
      return absl::DataLossError(
          absl::StrCat("gap: expected below ", lanes - next, ", found ", gap));
    }
    WDELTA_ASSIGN_OR_RETURN(const uint64_t code, reader.ReadVarint("difference"));
    const T zigzag = static_cast<T>(code);
    if (zigzag != code || code == 0) {
      return absl::DataLossError(
          absl::StrCat("difference: expected 1 to ", static_cast<T>(~T{0}), ", found ", code));
    }
    const size_t at = next + gap;
    const T difference =
        static_cast<T>((zigzag >> 1) ^ static_cast<T>(T{0} - static_cast<T>(zigzag & 1)));
    const T p = Load<T>(parent + at * sizeof(T));
    const T ordered = static_cast<T>(ToOrdered(format, p) + difference);
    const T t = format.sign_magnitude ? kernels::portable::FromMonotone(ordered) : ordered;
    kernels::portable::Store(t, target + at * sizeof(T));
    next = at + 1;
  }
  return absl::OkStatus();
}

}  // namespace

bool ChangedAtMost(size_t most, LaneFormat format, const uint8_t* target, const uint8_t* parent,
                   size_t lanes) {
  constexpr size_t kBlock = 128;
  size_t changed = 0;
  kernels::portable::WithLaneType(format.lane_bytes, [&](auto zero) {
    using T = decltype(zero);
    for (size_t begin = 0; begin < lanes && changed <= most; begin += kBlock) {
      const size_t end = std::min(lanes, begin + kBlock);
      T in_block = 0;  // as narrow as the lanes, for the sake of vectors
      for (size_t i = begin; i < end; ++i) {
        T t;
        T p;
        std::memcpy(&t, target + i * sizeof(T), sizeof(T));
        std::memcpy(&p, parent + i * sizeof(T), sizeof(T));
        in_block = static_cast<T>(in_block + (t != p ? 1 : 0));
      }
      changed += in_block;
    }
  });
  return changed <= most;
}

std::string EncodeSparse(LaneFormat format, const uint8_t* target, const uint8_t* parent,
                         size_t lanes) {
  std::string out;
  kernels::portable::WithLaneType(format.lane_bytes, [&](auto zero) {
    EncodeOf<decltype(zero)>(format, target, parent, lanes, out);
  });
  return out;
}

absl::Status DecodeSparse(LaneFormat format, absl::string_view payload, const uint8_t* parent,
                          size_t lanes, uint8_t* target) {
  std::memcpy(target, parent, lanes * format.lane_bytes);
  ByteReader reader(payload);
  absl::Status status;
  kernels::portable::WithLaneType(format.lane_bytes, [&](auto zero) {
    status = DecodeOf<decltype(zero)>(format, reader, parent, lanes, target);
  });
  return status;
}

}  // namespace wdelta

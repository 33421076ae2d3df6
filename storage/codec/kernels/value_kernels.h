// Values of a class to byte symbols with raw low bits, and back. Specified in
// storage/wdelta/FORMAT.md ("Classes").
//
// `kernels` runs on the best instruction set of the CPU (Highway, chosen at run
// time), `kernels::portable` is its plain twin and serves as its tail. Both give the
// same bytes. No state: any thread may call them. Values are little-endian lanes of the
// chunk's width, in arrays aligned for their type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "storage/codec/codec.h"
#include "storage/codec/kernels/class_kernels.h"

namespace wdelta::kernels {

// How the values of one class become symbols: symbol = (value >> low_bits) - bias,
// where that is at most `max_symbol`; otherwise the symbol is kEscape.
struct ValueFormat {
  int low_bits = 0;
  bool is_signed = false;  // the shift is arithmetic
  uint64_t bias = 0;       // modulo the lane
  int max_symbol = 254;    // 255: no escape
};
inline constexpr uint8_t kEscape = 255;

// Bytes of the raw low bits of `count` values: whole byte planes, then bit planes.
size_t RawBytes(int low_bits, size_t count);

// Fills `symbols` and `raw`, and appends to `escapes` the values whose symbol is
// kEscape.
void TakeApart(LaneFormat format, const ValueFormat& values_format, const void* values,
               size_t count, uint8_t* symbols, uint8_t* raw, std::vector<uint64_t>& escapes);

// Inverse, but for escapes. May write kValueSlack lanes more than `count`, and read
// as many symbols.
void PutTogether(LaneFormat format, const ValueFormat& values_format, const uint8_t* symbols,
                 const uint8_t* raw, size_t count, void* values);

namespace portable {

// From value `first` on, which is a multiple of 8, up to `count`.
void TakeApart(LaneFormat format, const ValueFormat& values_format, const void* values,
               size_t first, size_t count, uint8_t* symbols, uint8_t* raw,
               std::vector<uint64_t>& escapes);
void PutTogether(LaneFormat format, const ValueFormat& values_format, const uint8_t* symbols,
                 const uint8_t* raw, size_t first, size_t count, void* values);

}  // namespace portable
}  // namespace wdelta::kernels

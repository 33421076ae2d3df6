// Bits of up to 32 at a time, least significant first, in bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace wdelta {

class BitWriter {
 public:
  explicit BitWriter(std::string* out) : out_(out) {}

  // `value` < 2^bits, bits <= 32.
  void Write(uint32_t value, int bits) {
    pending_ |= static_cast<uint64_t>(value) << pending_bits_;
    pending_bits_ += bits;
    for (; pending_bits_ >= 8; pending_bits_ -= 8, pending_ >>= 8) {
      out_->push_back(static_cast<char>(pending_));
    }
  }

  // Elias gamma code of `value` + 1, below 2^31: so many zeros as its bits less one,
  // then its bits, most significant (a one) first.
  void WriteGamma(uint32_t value) {
    const uint32_t code = value + 1;
    int bits = 1;
    while (code >> bits != 0) ++bits;
    Write(0, bits - 1);
    for (int i = bits - 1; i >= 0; --i) Write((code >> i) & 1, 1);
  }

  // Fills the last byte with zeros.
  void Finish() {
    if (pending_bits_ > 0) out_->push_back(static_cast<char>(pending_));
    pending_bits_ = 0;
    pending_ = 0;
  }

 private:
  std::string* const out_;
  uint64_t pending_ = 0;
  int pending_bits_ = 0;
};

// Reads zeros past the end and remembers it: ask ok() at the end.
class BitReader {
 public:
  explicit BitReader(absl::string_view bytes) : bytes_(bytes) {}

  uint32_t Read(int bits) {
    uint32_t value = 0;
    for (int i = 0; i < bits; ++i) value |= ReadBit() << i;
    return value;
  }

  // Fails on codes of more than `max_bits` bits after the zeros.
  uint32_t ReadGamma(int max_bits) {
    int zeros = 0;
    while (ReadBit() == 0) {
      if (++zeros >= max_bits || !ok_) {
        ok_ = false;
        return 0;
      }
    }
    uint32_t code = 1;
    for (int i = 0; i < zeros; ++i) code = (code << 1) | ReadBit();
    return code - 1;
  }

  // Whole bytes touched so far; ok() also asks that the bits left in the last are zero.
  size_t ByteCount() const { return (position_ + 7) / 8; }
  bool Finish() {
    while (ok_ && position_ % 8 != 0) {
      if (ReadBit() != 0) ok_ = false;
    }
    return ok_;
  }
  bool ok() const { return ok_; }

 private:
  uint32_t ReadBit() {
    if (position_ / 8 >= bytes_.size()) {
      ok_ = false;
      return 0;
    }
    const uint32_t bit = (static_cast<uint8_t>(bytes_[position_ / 8]) >> (position_ % 8)) & 1;
    ++position_;
    return bit;
  }

  const absl::string_view bytes_;
  size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace wdelta

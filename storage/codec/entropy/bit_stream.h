// Bits of up to 32 at a time, least significant first, in bytes.
#pragma once

#include <bit>
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

  // Golomb-Rice code: value >> low_bits zeros, a one, then the low bits.
  void WriteRice(uint32_t value, int low_bits) {
    for (uint32_t zeros = value >> low_bits; zeros > 0; --zeros) Write(0, 1);
    Write(1, 1);
    Write(value & ((1u << low_bits) - 1), low_bits);
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

  // At most 32 bits.
  uint32_t Read(int bits) {
    Fill();
    const auto value = static_cast<uint32_t>(buffer_ & ((uint64_t{1} << bits) - 1));
    Drop(bits);
    return value;
  }

  // Fails on codes of more than `max_bits` bits, at most 32, after the zeros.
  uint32_t ReadGamma(int max_bits) {
    if (buffered_bits_ < kShortGammaBits) Fill();
    const int short_zeros = buffer_ == 0 ? kShortGammaBits : std::countr_zero(buffer_);
    if (2 * short_zeros < kShortGammaBits && 2 * short_zeros < buffered_bits_ &&
        short_zeros < max_bits) {
      const uint64_t bits = buffer_ >> (short_zeros + 1);
      uint32_t code = 1;
      for (int i = 0; i < short_zeros; ++i) code = (code << 1) | (bits >> i & 1);
      Drop(2 * short_zeros + 1);
      return code - 1;
    }
    const uint32_t zeros = ReadZeros(static_cast<uint32_t>(max_bits) - 1);
    uint32_t code = 1;
    for (uint32_t i = 0; i < zeros; ++i) code = (code << 1) | Read(1);
    return code - 1;
  }

  // Fails on codes of more than `max_zeros` zeros. `low_bits` is below 32.
  uint32_t ReadRice(int low_bits, uint32_t max_zeros) {
    const uint32_t zeros = ReadZeros(max_zeros);
    return zeros << low_bits | Read(low_bits);
  }

  // True when the bits read end in the last byte, and those left in it are zero.
  bool Finish() {
    const int left = buffered_bits_ % 8;
    if (Read(left) != 0 || next_ != bytes_.size() || buffered_bits_ != 0) ok_ = false;
    return ok_;
  }
  bool ok() const { return ok_; }

 private:
  // Codes of fewer bits, nearly all, are read in one step.
  static constexpr int kShortGammaBits = 16;

  // Leaves at least 32 bits, or all that there are.
  void Fill() {
    while (buffered_bits_ <= 56 && next_ < bytes_.size()) {
      buffer_ |= uint64_t{static_cast<uint8_t>(bytes_[next_++])} << buffered_bits_;
      buffered_bits_ += 8;
    }
  }
  void Drop(int bits) {
    if (bits > buffered_bits_) {
      ok_ = false;
      buffer_ = 0;
      buffered_bits_ = 0;
      return;
    }
    buffer_ = bits == 64 ? 0 : buffer_ >> bits;
    buffered_bits_ -= bits;
  }
  // Zeros before the next one, which is taken too.
  uint32_t ReadZeros(uint32_t most) {
    uint32_t zeros = 0;
    while (ok_) {
      Fill();
      const int run = buffer_ == 0 ? buffered_bits_ : std::countr_zero(buffer_);
      if (zeros + static_cast<uint32_t>(run) > most) break;
      zeros += static_cast<uint32_t>(run);
      if (buffer_ != 0) {
        Drop(run + 1);
        return zeros;
      }
      if (buffered_bits_ == 0) break;
      Drop(run);
    }
    ok_ = false;
    return 0;
  }

  const absl::string_view bytes_;
  size_t next_ = 0;      // byte to take into the buffer
  uint64_t buffer_ = 0;  // the next bits, the first at the bottom
  int buffered_bits_ = 0;
  bool ok_ = true;
};

}  // namespace wdelta

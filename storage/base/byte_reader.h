// Checked little-endian reading of untrusted bytes, and the matching writes.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace wdelta {

// Walks over bytes that it does not own. Every read past the end is a DATA_LOSS
// that names the field and its offset. One thread at a time.
class ByteReader {
 public:
  explicit ByteReader(absl::string_view bytes) : bytes_(bytes) {}

  absl::StatusOr<uint8_t> ReadU8(absl::string_view field);
  absl::StatusOr<uint32_t> ReadU32(absl::string_view field);
  absl::StatusOr<uint64_t> ReadU64(absl::string_view field);
  // LEB128, at most 10 bytes, without redundant trailing zero groups.
  absl::StatusOr<uint64_t> ReadVarint(absl::string_view field);
  // A view into the bytes given at construction.
  absl::StatusOr<absl::string_view> ReadBytes(uint64_t size, absl::string_view field);
  // A varint length no larger than `max_size`, then as many bytes.
  absl::StatusOr<absl::string_view> ReadSizedBytes(uint64_t max_size, absl::string_view field);

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }

 private:
  absl::string_view bytes_;
  uint64_t offset_ = 0;
};

void AppendU8(std::string& out, uint8_t value);
void AppendU32(std::string& out, uint32_t value);
void AppendU64(std::string& out, uint64_t value);
void AppendVarint(std::string& out, uint64_t value);
void AppendSizedBytes(std::string& out, absl::string_view bytes);

// a + b and a * b, OUT_OF_RANGE naming the field when they exceed 64 bits.
absl::StatusOr<uint64_t> CheckedAdd(uint64_t a, uint64_t b, absl::string_view field);
absl::StatusOr<uint64_t> CheckedMultiply(uint64_t a, uint64_t b, absl::string_view field);

}  // namespace wdelta

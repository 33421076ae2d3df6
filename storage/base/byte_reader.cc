#include "storage/base/byte_reader.h"

#include "absl/strings/str_cat.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

template <typename T>
T LoadLittleEndian(absl::string_view bytes) {
  T value = 0;
  for (size_t i = sizeof(T); i-- > 0;) {
    value = static_cast<T>((uint64_t{value} << 8) | static_cast<uint8_t>(bytes[i]));
  }
  return value;
}

template <typename T>
void AppendLittleEndian(std::string& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    out.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
  }
}

}  // namespace

absl::StatusOr<absl::string_view> ByteReader::ReadBytes(uint64_t size, absl::string_view field) {
  if (size > remaining()) {
    return absl::DataLossError(absl::StrCat(field, " at offset ", offset_, ": expected ", size,
                                            " bytes, found ", remaining()));
  }
  const absl::string_view view = bytes_.substr(offset_, size);
  offset_ += size;
  return view;
}

absl::StatusOr<uint8_t> ByteReader::ReadU8(absl::string_view field) {
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view bytes, ReadBytes(1, field));
  return static_cast<uint8_t>(bytes[0]);
}

absl::StatusOr<uint32_t> ByteReader::ReadU32(absl::string_view field) {
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view bytes, ReadBytes(4, field));
  return LoadLittleEndian<uint32_t>(bytes);
}

absl::StatusOr<uint64_t> ByteReader::ReadU64(absl::string_view field) {
  WDELTA_ASSIGN_OR_RETURN(const absl::string_view bytes, ReadBytes(8, field));
  return LoadLittleEndian<uint64_t>(bytes);
}

absl::StatusOr<uint64_t> ByteReader::ReadVarint(absl::string_view field) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    WDELTA_ASSIGN_OR_RETURN(const uint8_t group, ReadU8(field));
    const uint64_t bits = group & 0x7f;
    const bool overflows = shift == 63 && bits > 1;
    const bool redundant = group == 0 && shift > 0;
    if (overflows || redundant) break;
    value |= bits << shift;
    if ((group & 0x80) == 0) return value;
  }
  return absl::DataLossError(
      absl::StrCat(field, " before offset ", offset_, ": not a canonical 64-bit varint"));
}

absl::StatusOr<absl::string_view> ByteReader::ReadSizedBytes(uint64_t max_size,
                                                             absl::string_view field) {
  WDELTA_ASSIGN_OR_RETURN(const uint64_t size, ReadVarint(field));
  if (size > max_size) {
    return absl::DataLossError(absl::StrCat(field, " before offset ", offset_,
                                            ": expected at most ", max_size, " bytes, found ",
                                            size));
  }
  return ReadBytes(size, field);
}

void AppendU8(std::string& out, uint8_t value) { out.push_back(static_cast<char>(value)); }
void AppendU32(std::string& out, uint32_t value) { AppendLittleEndian(out, value); }
void AppendU64(std::string& out, uint64_t value) { AppendLittleEndian(out, value); }

void AppendVarint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(0x80 | (value & 0x7f)));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

void AppendSizedBytes(std::string& out, absl::string_view bytes) {
  AppendVarint(out, bytes.size());
  out.append(bytes.data(), bytes.size());
}

absl::StatusOr<uint64_t> CheckedAdd(uint64_t a, uint64_t b, absl::string_view field) {
  uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) {
    return absl::OutOfRangeError(absl::StrCat(field, ": ", a, " + ", b, " exceeds 64 bits"));
  }
  return sum;
}

absl::StatusOr<uint64_t> CheckedMultiply(uint64_t a, uint64_t b, absl::string_view field) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) {
    return absl::OutOfRangeError(absl::StrCat(field, ": ", a, " x ", b, " exceeds 64 bits"));
  }
  return product;
}

}  // namespace wdelta

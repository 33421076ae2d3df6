// Bytes: checked reading and writing, checksums, digests, UTF-8.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/byte_reader.h"
#include "storage/base/checksum.h"
#include "storage/base/digest.h"
#include "storage/base/utf8.h"

namespace wdelta {
namespace {

using testing::HasSubstr;

TEST(ByteReaderTest, ReadsWhatWasAppended) {
  std::string bytes;
  AppendU8(bytes, 0xfe);
  AppendU32(bytes, 0x01020304);
  AppendU64(bytes, 0x1122334455667788);
  AppendSizedBytes(bytes, "name");
  AppendVarint(bytes, UINT64_MAX);
  EXPECT_EQ(bytes.substr(1, 4), "\x04\x03\x02\x01");
  ByteReader reader(bytes);
  EXPECT_EQ(reader.ReadU8("a").value(), 0xfe);
  EXPECT_EQ(reader.ReadU32("b").value(), 0x01020304u);
  EXPECT_EQ(reader.ReadU64("c").value(), 0x1122334455667788u);
  EXPECT_EQ(reader.offset(), 13u);
  EXPECT_EQ(reader.ReadSizedBytes(4, "d").value(), "name");
  EXPECT_EQ(reader.ReadVarint("e").value(), UINT64_MAX);
  EXPECT_EQ(reader.remaining(), 0u);
  const absl::Status end = reader.ReadU8("beyond").status();
  EXPECT_EQ(end.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(end.message(), HasSubstr("beyond at offset 28: expected 1 bytes, found 0"));
}

TEST(ByteReaderTest, EveryCutIsAnErrorAndMovesNothing) {
  const std::string bytes = "1234567";
  for (size_t size = 0; size < 8; ++size) {
    ByteReader reader(absl::string_view(bytes).substr(0, size));
    EXPECT_EQ(reader.ReadU64("field").status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(reader.offset(), 0u);
  }
  ByteReader reader(bytes);
  EXPECT_FALSE(reader.ReadBytes(UINT64_MAX, "field").ok());
  EXPECT_EQ(reader.ReadBytes(7, "field").value(), bytes);
}

TEST(ByteReaderTest, SizedBytesObeyTheirCapAndTheEnd) {
  std::string bytes;
  AppendSizedBytes(bytes, "12345");
  EXPECT_THAT(ByteReader(bytes).ReadSizedBytes(4, "name").status().message(),
              HasSubstr("name before offset 1: expected at most 4 bytes, found 5"));
  bytes.pop_back();
  EXPECT_EQ(ByteReader(bytes).ReadSizedBytes(5, "name").status().code(),
            absl::StatusCode::kDataLoss);
}

TEST(ByteReaderTest, VarintEncoding) {
  const std::vector<std::pair<uint64_t, std::string>> cases = {
      {0, std::string(1, '\0')},
      {127, "\x7f"},
      {128, "\x80\x01"},
      {300, "\xac\x02"},
      {16383, "\xff\x7f"},
      {16384, "\x80\x80\x01"},
      {UINT64_MAX, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"}};
  for (const auto& [value, encoded] : cases) {
    std::string bytes;
    AppendVarint(bytes, value);
    EXPECT_EQ(bytes, encoded) << value;
    EXPECT_EQ(ByteReader(bytes).ReadVarint("v").value(), value);
  }
}

TEST(ByteReaderTest, VarintRefusesOtherEncodings) {
  const std::string cases[] = {
      "",                                          // nothing
      "\x80",                                      // ends within
      std::string("\x80\0", 2),                    // a redundant group
      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",  // 65 bits
      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
  };
  for (const std::string& bytes : cases) {
    EXPECT_EQ(ByteReader(bytes).ReadVarint("v").status().code(), absl::StatusCode::kDataLoss)
        << absl::CHexEscape(bytes);
  }
}

TEST(ByteReaderTest, RandomVarintsRoundTrip) {
  const uint64_t seed = std::random_device{}();
  std::cout << "seed " << seed << std::endl;
  std::mt19937_64 random(seed);
  std::vector<uint64_t> values(1000);
  std::string bytes;
  for (uint64_t& value : values) AppendVarint(bytes, value = random() >> (random() % 64));
  ByteReader reader(bytes);
  for (const uint64_t value : values) ASSERT_EQ(reader.ReadVarint("v").value(), value);
  EXPECT_EQ(reader.remaining(), 0u);
}

TEST(CheckedArithmeticTest, FindsOverflow) {
  EXPECT_EQ(CheckedAdd(UINT64_MAX - 1, 1, "f").value(), UINT64_MAX);
  EXPECT_EQ(CheckedAdd(UINT64_MAX, 1, "f").status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(CheckedMultiply(uint64_t{1} << 32, (uint64_t{1} << 32) - 1, "f").value(),
            0xffffffff00000000u);
  const absl::Status overflow = CheckedMultiply(uint64_t{1} << 32, uint64_t{1} << 32, "f").status();
  EXPECT_EQ(overflow.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(overflow.message(), HasSubstr("f: 4294967296 x 4294967296"));
}

TEST(ChecksumTest, Crc32cOfRfc3720) {
  // Appendix B.4, and the check value of the catalogue of CRC algorithms.
  std::string ascending(32, '\0');
  for (int i = 0; i < 32; ++i) ascending[i] = static_cast<char>(i);
  const std::string descending(ascending.rbegin(), ascending.rend());
  const std::string read_command = absl::HexStringToBytes(
      "01c00000000000000000000000000000140000000000040000000014000000182800000000000000"
      "0200000000000000");
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(Crc32c(ascending), 0x46dd794eu);
  EXPECT_EQ(Crc32c(descending), 0x113fdb5cu);
  EXPECT_EQ(Crc32c(read_command), 0xd9963a56u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(""), 0u);
}

TEST(ChecksumTest, Crc32cExtendsAtAnyCut) {
  const std::string data = "The quick brown fox jumps over the lazy dog";
  for (size_t cut = 0; cut <= data.size(); ++cut) {
    EXPECT_EQ(ExtendCrc32c(Crc32c(data.substr(0, cut)), data.substr(cut)), Crc32c(data));
  }
}

TEST(ChecksumTest, Xxh3OfNothing) {
  EXPECT_EQ(Xxh3(""), 0x2d06800538d394c2u);  // of the algorithm's own test vectors
  EXPECT_NE(Xxh3("a"), Xxh3("b"));
}

TEST(DigestTest, Fips180Vectors) {
  EXPECT_EQ(Digest::Of("abc").ToHex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256Hasher hasher;
  for (int i = 0; i < 1000; ++i) hasher.Update(std::string(1000, 'a'));
  EXPECT_EQ(hasher.Current().ToHex(),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(DigestTest, HasherGoesOnAfterCurrentAndCopy) {
  Sha256Hasher hasher;
  hasher.Update("ab");
  EXPECT_EQ(hasher.Current(), Digest::Of("ab"));
  Sha256Hasher copy = hasher.Copy();
  hasher.Update("c");
  copy.Update("d");
  EXPECT_EQ(hasher.Current(), Digest::Of("abc"));
  EXPECT_EQ(copy.Current(), Digest::Of("abd"));
}

TEST(DigestTest, TextAndBytes) {
  const Digest digest = Digest::Of("x");
  EXPECT_EQ(Digest::FromHex(digest.ToHex()).value(), digest);
  EXPECT_EQ(Digest::FromBytes(digest.ToBytes()).value(), digest);
  const std::string hex = digest.ToHex();
  const std::string wrong[] = {"", hex.substr(1), hex + "0", absl::StrCat("G", hex.substr(1)),
                               absl::StrCat("A", hex.substr(1))};
  for (const std::string& text : wrong) {
    EXPECT_EQ(Digest::FromHex(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  EXPECT_FALSE(Digest::FromBytes(digest.ToBytes().substr(1)).ok());
  EXPECT_LT(Digest(), digest);
}

TEST(Utf8Test, AcceptsEveryLength) {
  for (const char* text :
       {"", "ascii", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsValidUtf8(text)) << absl::CHexEscape(text);
  }
  EXPECT_TRUE(IsValidUtf8(absl::string_view("\0", 1)));
}

TEST(Utf8Test, RefusesMalformed) {
  for (const char* text :
       {"\x80", "\xbf", "a\xc2", "\xc2 ", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xe2\x82",
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xff", "\xe2\x28\xa1"}) {
    EXPECT_FALSE(IsValidUtf8(text)) << absl::CHexEscape(text);
  }
}

}  // namespace
}  // namespace wdelta

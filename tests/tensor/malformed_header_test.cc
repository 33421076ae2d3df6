// Malformed safetensors headers, each with the error that it must give.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/utf8.h"
#include "storage/tensor/safetensors.h"

namespace wdelta {
namespace {

using testing::HasSubstr;

struct Malformed {
  const char* label;
  std::string json;
  std::string message;
  uint64_t data_bytes = 0;
};

void PrintTo(const Malformed& malformed, std::ostream* out) { *out << malformed.label; }

// One tensor `t`, with `fields` between its braces.
std::string T(absl::string_view fields) { return absl::StrCat(R"({"t":{)", fields, "}}"); }

std::string Offsets(absl::string_view offsets) {
  return T(absl::StrCat(R"("dtype":"U8","shape":[4],"data_offsets":)", offsets));
}
std::string Shape(absl::string_view shape) {
  return T(absl::StrCat(R"("dtype":"U8","shape":)", shape, R"(,"data_offsets":[0,4])"));
}
std::string Type(absl::string_view dtype) {
  return T(absl::StrCat(R"("dtype":)", dtype, R"(,"shape":[4],"data_offsets":[0,4])"));
}
std::string Two(absl::string_view first, absl::string_view second) {
  return absl::StrCat(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)", first,
                      R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)", second, "}}");
}

const std::string kGood = R"("dtype":"U8","shape":[4],"data_offsets":[0,4])";

std::vector<Malformed> TextCases() {
  return {
      {"Empty", "", "expected '{', found an empty header"},
      {"OnlySpaces", "    ", "expected '{', found ' '"},
      {"LeadingSpace", " {}", "expected '{', found ' '"},
      {"ByteOrderMark", "\xef\xbb\xbf{}", "expected '{', found '\\xef'"},
      {"RootArray", "[]", "expected '{', found '['"},
      {"RootNull", "null", "expected '{', found 'n'"},
      {"Unclosed", "{", "expected JSON, found at byte 2: "},
      {"Truncated", R"({"t":{"dtype":"U8","sha)", "expected JSON, found at byte "},
      {"SecondValue", "{}{}", "expected JSON, found at byte 3: "},
      {"TextBehind", "{} x", "expected JSON, found at byte 4: "},
      {"ZeroByteBehind", std::string("{}\0", 3), "found at byte 3: a zero byte"},
      {"ZeroByteInName", std::string("{\"\0\":1}", 7), "a zero byte"},
      {"ControlCharacterInName", "{\"a\nb\":1}", "control character"},
      {"TrailingComma", T(kGood + ","), "expected JSON, found at byte "},
      {"Comment", "{/**/}", "expected JSON, found at byte 2: "},
      {"SingleQuotes", "{'a':1}", "expected JSON, found at byte 2: "},
      {"NameNotUtf8", "{\"\xff\":1}", "ill-formed UTF-8 byte"},
      {"NameOverlongUtf8", "{\"\xc0\xaf\":1}", "ill-formed UTF-8 byte"},
      {"NameCutUtf8", "{\"\xe6\xa8\":1}", "ill-formed UTF-8 byte"},
      {"NameUtf8Surrogate", "{\"\xed\xa0\x80\":1}", "ill-formed UTF-8 byte"},
      {"NameLoneSurrogateEscape", R"({"\ud800":1})", "surrogate"},
      {"BytesOutsideStrings", "{\x80}", "expected JSON, found at byte 2: "},
      {"NumberOutOfRange", Shape("[1e999]"), "number overflow"},
  };
}

std::vector<Malformed> FieldCases() {
  return {
      {"TensorIsNumber", R"({"t":1})", "tensor 't': expected an object, found 1"},
      {"TensorIsNull", R"({"t":null})", "tensor 't': expected an object, found null"},
      {"TensorIsArray", R"({"t":[]})", "tensor 't': expected an object, found an array"},
      {"TensorIsString", R"({"t":"x"})", "tensor 't': expected an object, found the string 'x'"},
      {"TensorEmpty", T(""), "tensor 't': dtype: expected one, found none"},
      {"NoShape", T(R"("dtype":"U8","data_offsets":[0,4])"), "shape: expected one, found none"},
      {"NoOffsets", T(R"("dtype":"U8","shape":[4])"), "data_offsets: expected them, found none"},
      {"UnknownField", T(kGood + R"(,"stride":[1])"),
       "tensor 't': expected only dtype, shape and data_offsets, found 'stride'"},
      {"DTypeTwice", T(kGood + R"(,"dtype":"U8")"), "tensor 't': dtype: expected once"},
      {"ShapeTwice", T(kGood + R"(,"shape":[4])"), "tensor 't': shape: expected once"},
      {"OffsetsTwice", T(kGood + R"(,"data_offsets":[0,4])"), "data_offsets: expected once"},
      {"TensorTwice", absl::StrCat(R"({"t":{)", kGood, R"(},"t":{)", kGood, "}}"),
       "tensor 't': expected once, found twice", 4},
      {"TensorTwiceByEscape", absl::StrCat(R"({"t":{)", kGood, R"(},"\u0074":{)", kGood, "}}"),
       "tensor 't': expected once, found twice", 4},
      {"DTypeUnknown", Type(R"("Q4_0")"), "tensor 't': dtype: expected one of"},
      {"DTypeLowerCase", Type(R"("u8")"), "found 'u8'", 4},
      {"DTypeNumber", Type("8"), "tensor 't': dtype: expected a string, found 8"},
      {"DTypeArray", Type(R"(["U8"])"), "tensor 't': dtype: expected a string, found an array"},
      {"DTypeObject", Type("{}"), "tensor 't': dtype: expected a string, found an object"},
      {"ShapeNumber", Shape("4"), "tensor 't': shape: expected an array, found 4"},
      {"ShapeNegative", Shape("[-4]"), "expected unsigned 64-bit integers, found -4"},
      {"ShapeFraction", Shape("[4.0]"), "expected unsigned 64-bit integers, found 4.0"},
      {"ShapeBeyond64Bits", Shape("[18446744073709551616]"), "found 18446744073709551616"},
      {"ShapeString", Shape(R"(["4"])"), "tensor 't': shape: expected unsigned"},
      {"ShapeNested", Shape("[[4]]"), "shape: expected unsigned 64-bit integers, found an array"},
      {"ShapeBool", Shape("[true]"), "found true"},
      {"ShapeOverflow", Shape("[4294967296,4294967296]"),
       "tensor 't': shape [4294967296,4294967296]: expected a number of elements of at most"},
      {"ShapeOverflowInBits", Shape("[4611686018427387904]"), "a number of U8 bits"},
      {"F4OddCount", T(R"("dtype":"F4","shape":[3],"data_offsets":[0,2])"),
       "expected F4 elements to fill whole bytes, found 3 elements of 4 bits"},
      {"F6Misaligned", T(R"("dtype":"F6_E2M3","shape":[2],"data_offsets":[0,2])"),
       "expected F6_E2M3 elements to fill whole bytes"},
      {"MetadataString", R"({"__metadata__":"pt"})", "__metadata__: expected an object, found the"},
      {"MetadataNull", R"({"__metadata__":null})", "__metadata__: expected an object, found null"},
      {"MetadataNumber", R"({"__metadata__":{"step":1}})",
       "__metadata__: 'step': expected a string, found 1"},
      {"MetadataNested", R"({"__metadata__":{"a":{}}})",
       "__metadata__: 'a': expected a string, found an object"},
      {"MetadataArray", R"({"__metadata__":{"a":[]}})",
       "__metadata__: 'a': expected a string, found an array"},
      {"MetadataTwice", R"({"__metadata__":{},"__metadata__":{}})",
       "__metadata__: expected once, found twice"},
      {"MetadataKeyTwice", R"({"__metadata__":{"a":"1","a":"2"}})",
       "__metadata__: 'a': expected once, found twice"},
  };
}

std::vector<Malformed> OffsetCases() {
  return {
      {"OffsetsNumber", Offsets("4"), "data_offsets: expected an array, found 4"},
      {"OffsetsEmpty", Offsets("[]"), "data_offsets: expected 2 values, found 0"},
      {"OffsetsOne", Offsets("[0]"), "data_offsets: expected 2 values, found 1"},
      {"OffsetsThree", Offsets("[0,4,8]"), "data_offsets: expected 2 values, found more"},
      {"OffsetsReversed", Offsets("[4,0]"), "expected begin <= end, found [4,0]", 4},
      {"OffsetsTooFew", Offsets("[0,3]"), "expected 4 bytes for U8 [4], found 3", 3},
      {"OffsetsTooMany", Offsets("[0,5]"), "expected 4 bytes for U8 [4], found 5", 5},
      {"OffsetsNearOverflow", Offsets("[18446744073709551611,18446744073709551615]"),
       "expected to begin at 0, found 18446744073709551611 (hole)", 4},
      {"HoleAtStart", Offsets("[4,8]"), "expected to begin at 0, found 4 (hole)", 8},
      {"HoleBetween", Two("[0,4]", "[5,9]"), "tensor 'b': data_offsets: expected to begin at 4", 9},
      {"Overlap", Two("[0,4]", "[3,7]"), "expected to begin at 4, found 3 (overlap)", 7},
      {"SameBytes", Two("[0,4]", "[0,4]"), "tensor 'b': data_offsets: expected to begin at 4", 4},
      {"ZeroSizeWithin",
       R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
       R"("z":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
       "tensor 'z': data_offsets: expected to begin at 4, found 2 (overlap)", 4},
      {"FileTooShort", Offsets("[0,4]"), "expected an end of at most 3, found 4", 3},
      {"FileTooLong", Offsets("[0,4]"), "expected tensors of 5 bytes", 5},
      {"NoTensorsButBytes", "{}", "expected tensors of 1 bytes", 1},
  };
}

class MalformedHeaderTest : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedHeaderTest, IsRefusedWithItsOwnMessage) {
  const Malformed& malformed = GetParam();
  const absl::Status status =
      ParseSafetensorsHeader(malformed.json, 8 + malformed.json.size() + malformed.data_bytes)
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorReason(status), "BAD_SAFETENSORS");
  EXPECT_THAT(status.message(), HasSubstr(malformed.message));
  EXPECT_TRUE(IsValidUtf8(status.message()));
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
}

const auto kLabel = [](const testing::TestParamInfo<Malformed>& info) {
  return std::string(info.param.label);
};
INSTANTIATE_TEST_SUITE_P(Text, MalformedHeaderTest, testing::ValuesIn(TextCases()), kLabel);
INSTANTIATE_TEST_SUITE_P(Field, MalformedHeaderTest, testing::ValuesIn(FieldCases()), kLabel);
INSTANTIATE_TEST_SUITE_P(Offset, MalformedHeaderTest, testing::ValuesIn(OffsetCases()), kLabel);

TEST(HostileHeaderTest, HeaderBeyondTheFile) {
  EXPECT_THAT(ParseSafetensorsHeader("{}", 9).status().message(), HasSubstr("at least 10 bytes"));
  EXPECT_THAT(ParseSafetensorsHeader("{}", 7).status().message(), HasSubstr("at least 10 bytes"));
}

TEST(HostileHeaderTest, DeepNesting) {
  const std::string deep = Shape(std::string(1'000'000, '['));
  EXPECT_THAT(ParseSafetensorsHeader(deep, 8 + deep.size()).status().message(),
              HasSubstr("found an array"));
}

TEST(HostileHeaderTest, DeepNestingOfMetadata) {
  for (const std::string& value :
       {std::string(1'000'000, '['), std::string(R"({"k":)") + std::string(1'000'000, '['),
        std::string(1'000'000, '{')}) {
    const std::string deep = R"({"__metadata__":)" + value;
    const absl::Status status = ParseSafetensorsHeader(deep, 8 + deep.size()).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_LT(status.message().size(), 500u);
  }
}

TEST(HostileHeaderTest, LongTextGivesAShortMessage) {
  const std::string quote(1'000'000, '\x01');
  for (const std::string& json :
       {absl::StrCat("{\"", quote), Type(absl::StrCat("\"", std::string(1'000'000, 'x'), "\"")),
        Shape(std::string(1'000'000, '9')),
        R"({"__metadata__":{")" + std::string(1'000'000, 'k') + "\":1}}"}) {
    const absl::Status status = ParseSafetensorsHeader(json, 8 + json.size()).status();
    EXPECT_FALSE(status.ok());
    EXPECT_LT(status.message().size(), 500u);
  }
}

TEST(HostileHeaderTest, MetadataEntriesAreBounded) {
  std::string json = R"({"__metadata__":{)";
  for (uint64_t i = 0; i < limits::kMaxSafetensorsMetadataEntries; ++i) {
    absl::StrAppend(&json, i == 0 ? "" : ",", "\"", i, "\":\"\"");
  }
  const std::string full = json + "}}";
  EXPECT_TRUE(ParseSafetensorsHeader(full, 8 + full.size()).ok());
  const std::string over = json + R"(,"more":""}})";
  EXPECT_THAT(ParseSafetensorsHeader(over, 8 + over.size()).status().message(),
              HasSubstr("__metadata__: expected at most 100000 keys"));
}

}  // namespace
}  // namespace wdelta

// Version 1 files that lie, under a checksum that holds: every rule of FORMAT_V1.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "storage/base/byte_reader.h"
#include "storage/base/error.h"
#include "tests/wdelta/v1_bytes.h"

namespace wdelta {
namespace {

using testing::HasSubstr;
using Replacements = std::vector<std::pair<absl::string_view, absl::string_view>>;

constexpr char kInt4[] =
    R"({"parent_hash":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",)"
    R"("strategy":"int4","tensors":{"w":{"strategy":"int4","shape":[2,4],"dtype":"float32",)"
    R"("outlier_fraction":0.25,"n_elements":8,"n_outliers":2,"outlier_idx":{"_ref":"outlier_idx"},)"
    R"("outlier_vals":{"_ref":"outlier_vals"},"scale":{"_ref":"scale"},)"
    R"("zero_point":{"_ref":"zero_point"},"packed":{"_ref":"packed"}}}})";
constexpr char kSparse[] =
    R"({"parent_hash":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",)"
    R"("strategy":"sparse","tensors":{"w":{"strategy":"sparse","shape":[8],"dtype":"float32",)"
    R"("sparsity":0.75,"indices":{"_ref":"indices"},"values":{"_ref":"values"}}}})";
constexpr char kQuantized[] =
    R"({"parent_hash":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",)"
    R"("strategy":"quantized","tensors":{"w":{"strategy":"quantized","shape":[2,4],)"
    R"("dtype":"float32","n_elements":8,"n_cols":4,"scales":{"_ref":"scales"},)"
    R"("packed_signs":{"_ref":"packed_signs"}}}})";

struct Record {
  std::string tensor = "w";
  std::string array;
  std::string dtype;
  std::string data;
  uint64_t length = 0;
  uint32_t dimensions = 1;
  int64_t size_error = 0;
};

std::string Indices(std::vector<int64_t> indices) {
  std::string out;
  for (const int64_t index : indices) AppendU64(out, static_cast<uint64_t>(index));
  return out;
}

std::vector<Record> Int4Records() {
  return {{"w", "outlier_idx", "int64", Indices({1, 5}), 2},
          {"w", "outlier_vals", "float16", std::string(4, '\x3c'), 2},
          {"w", "scale", "float16", std::string(2, '\x3c'), 1},
          {"w", "zero_point", "float16", std::string(2, '\0'), 1},
          {"w", "packed", "uint8", "\x12\x34\x56", 3}};
}
std::vector<Record> SparseRecords() {
  return {{"w", "indices", "int64", Indices({3, 7}), 2},
          {"w", "values", "float32", std::string(8, '\x3f'), 2}};
}
std::vector<Record> QuantizedRecords() {
  return {{"w", "scales", "float16", std::string(4, '\x3c'), 2},
          {"w", "packed_signs", "uint8", "\xa5", 1}};
}

std::string Content(absl::string_view header, const std::vector<Record>& records) {
  std::string out("wdelta\0", 7);
  AppendU32(out, 1);
  AppendU32(out, static_cast<uint32_t>(header.size()));
  absl::StrAppend(&out, header);
  for (const Record& record : records) {
    for (const std::string& text : {record.tensor, record.array, record.dtype}) {
      AppendU32(out, static_cast<uint32_t>(text.size()));
      out += text;
    }
    AppendU32(out, record.dimensions);
    AppendU64(out, record.length);
    AppendU64(out, record.data.size() + record.size_error);
    out += record.data;
  }
  return out;
}

void ExpectRefused(const std::string& file, const std::string& message) {
  const auto reader = OpenV1Bytes(file);
  EXPECT_EQ(ErrorReason(reader.status()), "BAD_WDELTA") << message << ": " << reader.status();
  EXPECT_THAT(std::string(reader.status().message()), HasSubstr(message));
}

// The header of int4, with one part of it replaced.
void ExpectHeaderRefused(absl::string_view from, absl::string_view to, const std::string& message) {
  const std::string header = absl::StrReplaceAll(kInt4, {{from, to}});
  ASSERT_NE(header, kInt4) << from;
  ExpectRefused(SealV1(Content(header, Int4Records())), message);
}

TEST(V1HostileTest, HonestFilesPass) {
  for (const auto& [header, records] :
       {std::pair(kInt4, Int4Records()), std::pair(kSparse, SparseRecords()),
        std::pair(kQuantized, QuantizedRecords())}) {
    const auto reader = OpenV1Bytes(SealV1(Content(header, records)));
    ASSERT_TRUE(reader.ok()) << reader.status();
    std::vector<float> values(8, 0.5f);
    EXPECT_TRUE((*reader)->AddDelta(0, 0, absl::MakeSpan(values)).ok());
    EXPECT_TRUE(absl::IsInvalidArgument((*reader)->AddDelta(0, 1, absl::MakeSpan(values))));
    EXPECT_TRUE(absl::IsInvalidArgument((*reader)->AddDelta(1, 0, absl::MakeSpan(values))));
  }
}

TEST(V1HostileTest, ArraysInAnyOrderPass) {
  auto records = Int4Records();
  std::reverse(records.begin(), records.end());
  EXPECT_TRUE(OpenV1Bytes(SealV1(Content(kInt4, records))).ok());
}

TEST(V1HostileTest, Preamble) {
  const std::string content = Content(kInt4, Int4Records());
  ExpectRefused("", "file: expected at least 47 bytes, found 0");
  ExpectRefused(content.substr(0, 46), "file: expected at least 47 bytes, found 46");
  std::string magic = content;
  magic[0] = 'W';
  ExpectRefused(SealV1(magic), "magic: expected `wdelta`");
  std::string version = content;
  version[7] = 3;
  ExpectRefused(SealV1(version), "version: expected 1, found 3");
  std::string size = content;
  size[14] = '\x7f';
  ExpectRefused(SealV1(size), "header size: expected at most ");
}

TEST(V1HostileTest, EveryChangedByteIsNoticed) {
  const std::string file = SealV1(Content(kSparse, SparseRecords()));
  for (size_t i = 0; i < file.size(); ++i) {
    std::string changed = file;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    const auto reader = OpenV1Bytes(changed);
    EXPECT_EQ(ErrorReason(reader.status()), "BAD_WDELTA") << "byte " << i;
  }
}

TEST(V1HostileTest, EveryCutIsNoticed) {
  const std::string file = SealV1(Content(kSparse, SparseRecords()));
  const std::string content = Content(kSparse, SparseRecords());
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_EQ(ErrorReason(OpenV1Bytes(file.substr(0, size)).status()), "BAD_WDELTA") << size;
  }
  for (size_t size = 0; size < content.size(); ++size) {
    const auto reader = OpenV1Bytes(SealV1(content.substr(0, size)));
    EXPECT_EQ(ErrorReason(reader.status()), "BAD_WDELTA") << "sealed " << size;
  }
}

TEST(V1HostileTest, HeaderIsNotTheObjectExpected) {
  for (const char* header : {"", "[]", "7", "{", "{}x", "\xff", "{\"tensors\":[]}", "null"}) {
    ExpectRefused(SealV1(Content(header, {})), "header");
  }
  ExpectRefused(SealV1(Content("{}", {})), "header: expected `parent_hash`, found none");
  ExpectRefused(SealV1(Content(std::string(40, '[') + std::string(40, ']'), {})), "header");
  ExpectHeaderRefused("0123456789abcdef0123", "0123", "'parent_hash': expected 64 lower-case hex");
  ExpectHeaderRefused("\"parent_hash\":\"", "\"parent_hash\":1,\"x\":\"", "expected a string");
  ExpectHeaderRefused("\"strategy\":\"int4\",\"tensors\"", "\"tensors\"",
                      "expected `strategy`, found none");
  ExpectHeaderRefused("\"tensors\":{", "\"tensors\":3,\"x\":{", "'tensors': expected an object");
  ExpectHeaderRefused("\"tensors\":{", "\"tensors\":{},\"tensors\":{", "expected it once");
  ExpectHeaderRefused("{\"w\":{", "{\"w\":4,\"x\":{", "'w': expected an object");
}

TEST(V1HostileTest, MembersOfATensor) {
  ExpectHeaderRefused("{\"strategy\":\"int4\"", "{\"strategy\":\"int3\"",
                      "tensor 'w': 'strategy': expected int4, sparse or quantized, found 'int3'");
  ExpectHeaderRefused("{\"strategy\":\"int4\",", "{", "'strategy': expected a string, found none");
  ExpectHeaderRefused("\"shape\":[2,4],", "", "'shape': expected an array, found none");
  ExpectHeaderRefused("[2,4]", "[2,-4]", "'shape': expected unsigned integers, found '-4'");
  ExpectHeaderRefused("[2,4]", "[2,4.0]", "'shape': expected unsigned integers, found '4.0'");
  ExpectHeaderRefused("[2,4]", "[2,[4]]", "'shape': expected unsigned integers, found an array");
  ExpectHeaderRefused("[2,4]", "8", "'shape': expected an array or object, found '8'");
  ExpectHeaderRefused("[2,4]", "[4294967296,4294967296]", "more than 64 bits hold");
  ExpectHeaderRefused("[2,4]", "[4398046511104,2]", "'shape': expected at most ");
  ExpectHeaderRefused("\"float32\"", "\"float16\"", "'dtype': expected float32, found 'float16'");
  ExpectHeaderRefused("\"dtype\":\"float32\",", "", "'dtype': expected float32, found none");
  ExpectHeaderRefused("\"n_elements\":8", "\"n_elements\":9", "'n_elements': expected 8, found 9");
  ExpectHeaderRefused("\"n_elements\":8,", "", "'n_elements': expected 8, found none");
  ExpectHeaderRefused("\"n_outliers\":2", "\"n_outliers\":9",
                      "'n_outliers': expected at most 8, found 9");
  ExpectHeaderRefused("\"n_outliers\":2", "\"n_outliers\":-1",
                      "'n_outliers': expected an unsigned integer, found '-1'");
  ExpectHeaderRefused("\"n_outliers\":2,", "", "'n_outliers': expected at most 8, found none");
  ExpectHeaderRefused("\"_ref\":\"scale\"", "\"_ref\":\"packed\"", "expected `_ref` of `scale`");
  ExpectHeaderRefused("\"_ref\":\"scale\"", "\"x\":\"scale\"", "expected `_ref`, found none");
  ExpectHeaderRefused(",\"packed\":{\"_ref\":\"packed\"}", "", "'packed': expected an object");
  ExpectHeaderRefused("\"n_outliers\":2", "\"n_outliers\":2,\"n_outliers\":2", "expected it once");
  ExpectHeaderRefused("{\"w\":",
                      "{\"w\":{\"strategy\":\"sparse\",\"shape\":[0],\"dtype\":"
                      "\"float32\",\"indices\":{\"_ref\":\"indices\"},\"values\":{\"_ref\":"
                      "\"values\"}},\"w\":",
                      "'w': expected the tensor once");
  const std::string columns = absl::StrReplaceAll(kQuantized, {{"\"n_cols\":4", "\"n_cols\":2"}});
  ExpectRefused(SealV1(Content(columns, QuantizedRecords())), "'n_cols': expected 4, found 2");
  const std::string empty = absl::StrReplaceAll(
      kQuantized, {{"[2,4]", "[2,0]"}, {"\"n_elements\":8", "\"n_elements\":0"}});
  ExpectRefused(SealV1(Content(empty, QuantizedRecords())), "'shape': expected an element");
  std::string dimensions = "1";
  for (int i = 0; i < 64; ++i) dimensions += ",1";
  ExpectHeaderRefused("[2,4]", absl::StrCat("[", dimensions, "]"), "at most 64 dimensions");
  ExpectHeaderRefused("\"w\"", absl::StrCat("\"", std::string(1025, 'w'), "\""),
                      "expected at most 1024 bytes, found 1025");
}

TEST(V1HostileTest, UnknownMembersAreIgnored) {
  const std::string header = absl::StrReplaceAll(
      kSparse, {{"\"sparsity\":0.75", R"("sparsity":0.75,"x":{"shape":[{"_ref":1}]},"y":[1,[2]])"},
                {"\"tensors\"", R"("z":{"tensors":{"w":1}},"tensors")"}});
  const auto reader = OpenV1Bytes(SealV1(Content(header, SparseRecords())));
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->file().tensors.size(), 1u);
}

void ExpectRecordRefused(const char* header, std::vector<Record> records, size_t which,
                         const std::function<void(Record&)>& lie, const std::string& message) {
  lie(records[which]);
  ExpectRefused(SealV1(Content(header, records)), message);
}

TEST(V1HostileTest, ArrayRecords) {
  const auto refused = [](size_t which, const std::function<void(Record&)>& lie,
                          const std::string& message) {
    ExpectRecordRefused(kInt4, Int4Records(), which, lie, message);
  };
  refused(
      0, [](Record& r) { r.tensor = "v"; }, "tensor: expected a tensor of the header, found");
  refused(
      0, [](Record& r) { r.tensor = std::string(2000, 'v'); }, "tensor: expected at most 1024");
  refused(
      1, [](Record& r) { r.array = "values"; }, "array: expected an array of int4, found");
  refused(
      4, [](Record& r) { r.array = "scale"; }, "dtype: expected float16, found 'uint8'");
  refused(
      0, [](Record& r) { r.dtype = "int32"; }, "dtype: expected int64, found 'int32'");
  refused(
      2, [](Record& r) { r.dimensions = 2; }, "dimensions: expected 1, found 2");
  refused(
      2, [](Record& r) { r.length = 2; }, "length: expected 1, found 2");
  refused(
      4, [](Record& r) { r.length = 4; }, "length: expected 3, found 4");
  refused(
      1, [](Record& r) { r.size_error = -1; }, "size: expected 4, found 3");
  refused(
      4,
      [](Record& r) {
        r.data = "\x12\x34";
        r.size_error = 1;
      },
      "data: expected 3 bytes");
  auto twice = Int4Records();
  twice.push_back(twice[2]);
  ExpectRefused(SealV1(Content(kInt4, twice)), "expected each array once, found `scale`");
  auto missing = Int4Records();
  missing.pop_back();
  ExpectRefused(SealV1(Content(kInt4, missing)), "array `packed`: expected a record, found none");
  ExpectRefused(SealV1(Content(kInt4, Int4Records()) + "xy"), "expected 4 bytes, found 2");
}

TEST(V1HostileTest, Indices) {
  const auto refused = [](std::vector<int64_t> indices, const std::string& message) {
    ExpectRecordRefused(
        kSparse, SparseRecords(), 0, [&](Record& r) { r.data = Indices(indices); }, message);
    ExpectRecordRefused(
        kInt4, Int4Records(), 0, [&](Record& r) { r.data = Indices(indices); }, message);
  };
  refused({3, 8}, "index 1: expected ascending ones: 4 to below 8, found 8");
  refused({3, 3}, "index 1: expected ascending ones: 4 to below 8, found 3");
  refused({5, 2}, "index 1: expected ascending ones: 6 to below 8, found 2");
  refused({-1, 2}, "index 0: expected ascending ones: 0 to below 8, found -1");
}

TEST(V1HostileTest, LengthsOfSparseAgree) {
  ExpectRecordRefused(
      kSparse, SparseRecords(), 1,
      [](Record& r) {
        r.length = 1;
        r.data = std::string(4, '\0');
      },
      "length: expected 2, as the other array has, found 1");
  ExpectRecordRefused(
      kSparse, SparseRecords(), 0, [](Record& r) { r.length = 9; },
      "length: expected at most 8, found 9");
}

TEST(V1HostileTest, OtherVersionsAreToldApart) {
  const auto is_v1 = [](std::string bytes) { return *IsV1File(V1BytesFile(std::move(bytes))); };
  std::string content = Content(kInt4, Int4Records());
  EXPECT_TRUE(is_v1(SealV1(content)));
  content[7] = 2;
  EXPECT_FALSE(is_v1(SealV1(content)));
  EXPECT_FALSE(is_v1("wdelta"));
  EXPECT_FALSE(is_v1(std::string(100, 'x')));
}

}  // namespace
}  // namespace wdelta

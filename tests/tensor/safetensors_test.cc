#include "storage/tensor/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/byte_reader.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/limits.h"

namespace wdelta {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

// A file in memory that claims `extra_bytes` more than it holds.
class StringFile final : public RandomAccessFile {
 public:
  explicit StringFile(std::string content, uint64_t extra_bytes = 0)
      : content_(std::move(content)), extra_bytes_(extra_bytes) {}
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    if (offset > content_.size() || size > content_.size() - offset) {
      return absl::DataLossError("read: the file ends before");
    }
    std::memcpy(destination, content_.data() + offset, size);
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return content_.size() + extra_bytes_; }

 private:
  const std::string content_;
  const uint64_t extra_bytes_;
};

// Parses a header of a file with `data_bytes` bytes behind it.
absl::StatusOr<SafetensorsLayout> Parse(absl::string_view json, uint64_t data_bytes = 0) {
  return ParseSafetensorsHeader(json, 8 + json.size() + data_bytes);
}

std::string LengthField(uint64_t length) {
  std::string field;
  AppendU64(field, length);
  return field;
}

TEST(ParseSafetensorsHeaderTest, OrdersByOffsetAndMetadataByKey) {
  const std::string json = R"({"b":{"shape":[2,3],"data_offsets":[8,20],"dtype":"BF16"},)"
                           R"("__metadata__":{"format":"pt","author":"\u00e4"},)"
                           R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   )";
  const auto layout = Parse(json, 20);
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->header_bytes, 8 + json.size());
  EXPECT_THAT(layout->metadata, ElementsAre(Pair("author", "\xc3\xa4"), Pair("format", "pt")));
  ASSERT_EQ(layout->tensors.size(), 2u);
  const TensorInfo& a = layout->tensors[0];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.dtype, DType::kF32);
  EXPECT_THAT(a.shape, ElementsAre(2));
  EXPECT_EQ(a.offset_bytes, layout->header_bytes);
  EXPECT_EQ(a.size_bytes, 8u);
  const TensorInfo& b = layout->tensors[1];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.dtype, DType::kBF16);
  EXPECT_THAT(b.shape, ElementsAre(2, 3));
  EXPECT_EQ(b.offset_bytes, layout->header_bytes + 8);
  EXPECT_EQ(b.size_bytes, 12u);
}

TEST(ParseSafetensorsHeaderTest, NoTensors) {
  for (const char* json : {"{}", "{}      ", "{ } \n", R"({"__metadata__":{}})"}) {
    const auto layout = Parse(json);
    ASSERT_TRUE(layout.ok()) << json << ": " << layout.status();
    EXPECT_THAT(layout->tensors, IsEmpty());
    EXPECT_THAT(layout->metadata, IsEmpty());
  }
}

TEST(ParseSafetensorsHeaderTest, ZeroSizeAndZeroDimensionTensors) {
  const auto layout = Parse(R"({"scalar":{"dtype":"F64","shape":[],"data_offsets":[0,8]},)"
                            R"("z2":{"dtype":"U8","shape":[0,5],"data_offsets":[8,8]},)"
                            R"("z1":{"dtype":"F4","shape":[0],"data_offsets":[8,8]},)"
                            R"("z0":{"dtype":"I32","shape":[4,0],"data_offsets":[0,0]},)"
                            R"("tail":{"dtype":"BOOL","shape":[1,1],"data_offsets":[8,9]}})",
                            9);
  ASSERT_TRUE(layout.ok()) << layout.status();
  std::vector<std::string> names;
  for (const TensorInfo& tensor : layout->tensors) names.push_back(tensor.name);
  EXPECT_THAT(names, ElementsAre("z0", "scalar", "z1", "z2", "tail"));
  EXPECT_THAT(layout->tensors[1].shape, IsEmpty());
  EXPECT_EQ(layout->tensors[1].size_bytes, 8u);
  EXPECT_EQ(layout->tensors[2].size_bytes, 0u);
}

TEST(ParseSafetensorsHeaderTest, EmptyAndUnicodeNames) {
  const auto layout =
      Parse(R"({"":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
            "\"\xe6\xa8\xa1\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
            2);
  ASSERT_TRUE(layout.ok()) << layout.status();
  EXPECT_EQ(layout->tensors[0].name, "");
  EXPECT_EQ(layout->tensors[1].name, "\xe6\xa8\xa1");
}

TEST(ParseSafetensorsHeaderTest, LongestNameAndMostDimensions) {
  const std::string name(limits::kMaxTensorNameBytes, 'n');
  std::string shape = "1";
  for (int i = 1; i < limits::kMaxTensorDimensions; ++i) shape += ",1";
  const std::string entry = absl::StrCat("\"", name, "\":{\"dtype\":\"U8\",\"shape\":[", shape);
  EXPECT_TRUE(Parse(absl::StrCat("{", entry, "],\"data_offsets\":[0,1]}}"), 1).ok());
  EXPECT_THAT(Parse(absl::StrCat("{", entry, ",1],\"data_offsets\":[0,1]}}"), 1).status().message(),
              HasSubstr("shape: expected at most 64 dimensions"));
  const auto long_name =
      Parse(absl::StrCat("{\"n", entry.substr(1), "],\"data_offsets\":[0,1]}}"), 1);
  EXPECT_THAT(long_name.status().message(), HasSubstr("at most 1024 bytes, found 1025"));
  EXPECT_LT(long_name.status().message().size(), 300u);
}

TEST(ReadSafetensorsLayoutTest, LengthField) {
  const auto read = [](const StringFile& file) { return ReadSafetensorsLayout(file).status(); };
  EXPECT_TRUE(read(StringFile(LengthField(2) + "{}")).ok());
  const absl::Status short_file = read(StringFile("1234567"));
  EXPECT_EQ(ErrorReason(short_file), "BAD_SAFETENSORS");
  EXPECT_THAT(short_file.message(), HasSubstr("header length: expected 8 bytes, found 7"));
  EXPECT_THAT(read(StringFile("")).message(), HasSubstr("found 0"));
  EXPECT_THAT(read(StringFile(LengthField(3) + "{}")).message(),
              HasSubstr("expected at most 2 in a file of 10 bytes, found 3"));
  EXPECT_THAT(read(StringFile(LengthField(UINT64_MAX) + "{}")).message(),
              HasSubstr("found 18446744073709551615"));
  EXPECT_THAT(read(StringFile(LengthField(0))).message(), HasSubstr("an empty header"));
}

TEST(ReadSafetensorsLayoutTest, HeaderCapIsCheckedBeforeReading) {
  const uint64_t huge = limits::kMaxSafetensorsHeaderBytes + 1;
  const absl::Status status = ReadSafetensorsLayout(StringFile(LengthField(huge), huge)).status();
  EXPECT_EQ(ErrorReason(status), "BAD_SAFETENSORS");
  EXPECT_THAT(status.message(), HasSubstr("expected at most 100000000"));
}

TEST(ReadSafetensorsLayoutTest, FileErrorIsPassedOn) {
  const absl::Status status = ReadSafetensorsLayout(StringFile(LengthField(2), 2)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
}

TEST(ReadSafetensorsLayoutTest, Fixtures) {
  const std::string folder = absl::StrCat(WDELTA_TEST_DATA_DIR, "/tinylm-1m/");
  const auto read = [&](const std::string& path) {
    auto file = NewPosixFileSystem()->OpenForRead(folder + path);
    EXPECT_TRUE(file.ok()) << file.status();
    return ReadSafetensorsLayout(**file);
  };
  const auto base = read("base/model.safetensors");
  ASSERT_TRUE(base.ok()) << base.status();
  std::set<std::string> names;
  for (const TensorInfo& tensor : base->tensors) {
    EXPECT_EQ(tensor.dtype, DType::kBF16) << tensor.name;
    names.insert(tensor.name);
  }
  EXPECT_TRUE(names.contains("model.embed_tokens.weight"));
  uint64_t shard_bytes = 0;
  std::set<std::string> shard_names;
  for (int shard = 1; shard <= 3; ++shard) {
    const auto layout =
        read(absl::StrCat("ft-perl-sharded/model-0000", shard, "-of-00003.safetensors"));
    ASSERT_TRUE(layout.ok()) << layout.status();
    for (const TensorInfo& tensor : layout->tensors) {
      shard_names.insert(tensor.name);
      shard_bytes += tensor.size_bytes;
    }
  }
  EXPECT_EQ(shard_bytes, 1740544u);  // `total_size` of the fixture's index
  EXPECT_EQ(shard_names, names);
}

TEST(WriteSafetensorsHeaderTest, ExactBytes) {
  const auto header = WriteSafetensorsHeader(
      {{.name = "w", .dtype = DType::kF16, .shape = {2, 2}}, {.name = "s", .dtype = DType::kI8}},
      {{"format", "pt"}});
  ASSERT_TRUE(header.ok()) << header.status();
  const std::string json =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},)"
      R"("s":{"dtype":"I8","shape":[],"data_offsets":[8,9]}})";
  const uint64_t padded = (json.size() + 7) / 8 * 8;
  EXPECT_EQ(*header, LengthField(padded) + json + std::string(padded - json.size(), ' '));
}

TEST(WriteSafetensorsHeaderTest, Errors) {
  const auto write = [](std::vector<TensorInfo> tensors) {
    const absl::Status status = WriteSafetensorsHeader(tensors, {}).status();
    EXPECT_EQ(ErrorReason(status), "BAD_SAFETENSORS");
    return std::string(status.message());
  };
  EXPECT_THAT(write({{.name = "odd", .dtype = DType::kF4, .shape = {3}}}),
              HasSubstr("tensor 'odd': shape [3]"));
  EXPECT_THAT(write({{.name = "huge", .dtype = DType::kU8, .shape = {UINT64_MAX, 2}}}),
              HasSubstr("tensor 'huge'"));
  EXPECT_THAT(write({{.name = "two"}, {.name = "two"}}),
              HasSubstr("tensor 'two': expected once, found twice"));
  EXPECT_THAT(write({{.name = "\xff"}}), HasSubstr("expected UTF-8, found '\\xff'"));
  EXPECT_THAT(write({{.name = "__metadata__"}}), HasSubstr("__metadata__"));
}

TEST(WriteSafetensorsHeaderTest, RandomRoundTrips) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  RecordProperty("seed", std::to_string(seed));
  std::cout << "seed " << seed << std::endl;
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t n) { return random() % n; };
  const std::vector<std::string> pieces = {"a",
                                           "weight",
                                           ".",
                                           "\"",
                                           "\\",
                                           "\n",
                                           "\xc3\xa4",
                                           "\xf0\x9f\x98\x80",
                                           " ",
                                           "/",
                                           std::string(1, '\0')};
  for (int round = 0; round < 300; ++round) {
    std::vector<TensorInfo> tensors(below(20));
    for (size_t i = 0; i < tensors.size(); ++i) {
      tensors[i].name = absl::StrCat(i, "_");
      for (uint64_t n = below(5); n > 0; --n) tensors[i].name += pieces[below(pieces.size())];
      tensors[i].dtype = *DTypeFromByte(static_cast<uint8_t>(1 + below(22)));
      for (uint64_t n = below(5); n > 0; --n) tensors[i].shape.push_back(below(6));
      // Four elements fill whole bytes in every dtype.
      tensors[i].shape.push_back(4 * below(3));
    }
    std::vector<std::pair<std::string, std::string>> metadata;
    for (uint64_t n = below(4); n > 0; --n) {
      metadata.emplace_back(absl::StrCat(9 - n), pieces[below(pieces.size())]);
    }
    const auto header = WriteSafetensorsHeader(tensors, metadata);
    ASSERT_TRUE(header.ok()) << header.status();
    ASSERT_EQ(header->size() % 8, 0u);
    uint64_t end = header->size();
    for (TensorInfo& tensor : tensors) {
      tensor.offset_bytes = end;
      tensor.size_bytes = *TensorBytes(tensor.dtype, tensor.shape);
      end += tensor.size_bytes;
    }
    const auto layout = ParseSafetensorsHeader(absl::string_view(*header).substr(8), end);
    ASSERT_TRUE(layout.ok()) << layout.status();
    EXPECT_EQ(layout->header_bytes, header->size());
    EXPECT_EQ(layout->metadata, metadata);
    // Written in one order, read in order of (offset, size, name).
    std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
      return std::tie(a.offset_bytes, a.size_bytes, a.name) <
             std::tie(b.offset_bytes, b.size_bytes, b.name);
    });
    ASSERT_EQ(layout->tensors.size(), tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_EQ(layout->tensors[i].name, tensors[i].name);
      EXPECT_EQ(layout->tensors[i].dtype, tensors[i].dtype);
      EXPECT_EQ(layout->tensors[i].shape, tensors[i].shape);
      EXPECT_EQ(layout->tensors[i].offset_bytes, tensors[i].offset_bytes);
      EXPECT_EQ(layout->tensors[i].size_bytes, tensors[i].size_bytes);
    }
  }
}

}  // namespace
}  // namespace wdelta

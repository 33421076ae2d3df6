// Malformed files: safetensors headers, index JSON, `.wdelta` of both versions.
#include <cstdint>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/server/malformed_table.h"

namespace wdelta::testing {
namespace {

constexpr char kBadHeader[] = "INVALID_ARGUMENT BAD_SAFETENSORS";
constexpr char kBadIndex[] = "INVALID_ARGUMENT BAD_INDEX";

std::string Length(uint64_t length) {
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) bytes.push_back(static_cast<char>(length >> shift));
  return bytes;
}

// A safetensors file of this header and so many zeros.
std::string File(const std::string& header, uint64_t data_bytes = 0) {
  return Length(header.size()) + header + std::string(data_bytes, '\0');
}

// One tensor `t` with these fields.
std::string Tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return absl::StrCat(R"({"t":{"dtype":)", dtype, R"(,"shape":)", shape, R"(,"data_offsets":)",
                      offsets, "}}");
}

std::string TwoTensors(const std::string& first, const std::string& second) {
  return absl::StrCat(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)", first,
                      R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)", second, "}}");
}

struct BadFile {
  std::string label;
  std::string bytes;
  std::vector<std::string> words;
};

std::vector<BadFile> BadFrames() {
  const std::string good = SmallCheckpoint(1).at("model.safetensors");
  std::vector<BadFile> files = {
      {"empty", "", {"expected at least 8 bytes", "found 0"}},
      {"header longer than the file", Length(100) + "{}", {"header length", "found 100"}},
      {"header of 2^64 - 1", Length(UINT64_MAX) + "{}", {"header length", "18446744073709551615"}},
      {"header of 2^63", Length(uint64_t{1} << 63) + "{}", {"header length", "expected at most"}},
      {"header of no bytes", Length(0), {"header", "expected '{'"}},
      {"header of no bytes and data", Length(0) + "data", {"header", "expected '{'"}},
      {"one byte too few", good.substr(0, good.size() - 1), {"expected an end of at most"}},
      {"one byte too many", good + "x", {"expected tensors of"}},
      {"a megabyte too many", good + std::string(1 << 20, 'x'), {"expected tensors of"}},
      {"a length that cuts the header", Length(20) + good.substr(8), {"expected JSON"}},
      {"a pickle",
       "\x80\x02}q\x00(X\x05\x00\x00\x00"
       "alphaq",
       {"header length"}},
      {"a zip archive", "PK\x03\x04 and the rest of it", {"header length"}},
      {"HTML", "<!DOCTYPE html><html></html>", {"header length"}},
  };
  for (size_t size = 1; size < 8; ++size) {
    files.push_back({absl::StrCat(size, " bytes"),
                     good.substr(0, size),
                     {"header length", "expected 8 bytes", absl::StrCat("found ", size)}});
  }
  for (const size_t part : {9, 20, 100, 200}) {
    files.push_back({absl::StrCat("cut after ", part), good.substr(0, part), {"header length"}});
  }
  return files;
}

std::vector<BadFile> BadJson() {
  std::vector<BadFile> files;
  const auto add = [&files](const std::string& header, std::vector<std::string> words) {
    files.push_back(
        {absl::StrCat("header ", header.substr(0, 60)), File(header, 4), std::move(words)});
  };
  for (const char* header : {"[]", "\"text\"", "1", "null", "true", " {}", "x", "\xef\xbb\xbf{}"}) {
    add(header, {"header", "expected '{'"});
  }
  for (const char* header :
       {"{", "{broken", "{\"a\"}", "{\"a\":}", "{\"a\":{}", "{,}", "{}}", "{} {}", "{'a':1}",
        "{\"a\":01}", "{\"a\":NaN}", "{\"a\":\"\\x\"}", "{\"a\":\"\t\"}", "{/* */}", "{\"a\":tru}",
        "{\"\xff\":1}", "{\"a\":\"\xc3\"}", "{\"a\":\"\\ud800\"}"}) {
    add(header, {"expected"});
  }
  add(std::string("{\"a\0\":1}", 8), {"expected JSON", "a zero byte"});
  add("{\"a\":" + std::string(64, '[') + std::string(64, ']') + "}", {"expected"});
  for (const char* value : {"1", "\"x\"", "null", "[]", "true", "-1", "1.5"}) {
    add(absl::StrCat("{\"t\":", value, "}"), {"tensor 't'", "expected an object"});
    add(absl::StrCat("{\"__metadata__\":", value, "}"), {"__metadata__", "expected an object"});
  }
  for (const char* value : {"1", "null", "true", "-2"}) {
    add(absl::StrCat(R"({"__metadata__":{"k":)", value, "}}"),
        {"__metadata__", "'k'", "expected a string", value});
  }
  add(R"({"__metadata__":{"k":{}}})", {"__metadata__", "'k'", "expected a string"});
  add(R"({"__metadata__":{"k":[]}})", {"__metadata__", "'k'", "expected a string"});
  add(R"({"__metadata__":{"k":"a","k":"b"}})", {"__metadata__", "expected once, found twice"});
  return files;
}

std::vector<BadFile> BadTensors() {
  std::vector<BadFile> files;
  const auto add = [&files](const std::string& header, uint64_t data_bytes,
                            std::vector<std::string> words) {
    files.push_back({absl::StrCat(header.substr(0, 90), " + ", data_bytes),
                     File(header, data_bytes), std::move(words)});
  };
  for (const char* dtype :
       {"\"Q4_0\"", "\"\"", "\"u8\"", "\"BF 16\"", "\"float32\"", "\"U8\\u0000\""}) {
    add(Tensor(dtype, "[4]", "[0,4]"), 4, {"tensor 't'", "dtype", "expected one of"});
  }
  for (const char* dtype : {"1", "null", "[]", "{}", "true"}) {
    add(Tensor(dtype, "[4]", "[0,4]"), 4, {"tensor 't'", "dtype", "expected a string"});
  }
  for (const char* shape : {"4", "\"4\"", "null", "{}"}) {
    add(Tensor("\"U8\"", shape, "[0,4]"), 4, {"tensor 't'", "shape", "expected an array"});
  }
  for (const char* shape : {"[-4]", "[4.0]", "[\"4\"]", "[null]", "[true]", "[1e2]", "[[4]]",
                            "[18446744073709551616]", "[{}]"}) {
    add(Tensor("\"U8\"", shape, "[0,4]"), 4, {"tensor 't'", "shape", "expected"});
  }
  add(Tensor("\"U8\"", "[4294967296,4294967296]", "[0,4]"), 4,
      {"tensor 't'", "shape [4294967296,4294967296]", "expected a number of elements of at most"});
  add(Tensor("\"F64\"", "[18446744073709551615]", "[0,4]"), 4, {"tensor 't'", "expected"});
  add(Tensor("\"U8\"", "[1" + std::string(128, ' ') + ",1]", "[0,4]"), 4, {"expected 1 bytes"});
  std::string dimensions = "[1";
  for (int i = 0; i < 64; ++i) dimensions += ",1";
  add(Tensor("\"U8\"", dimensions + "]", "[0,1]"), 1,
      {"tensor 't'", "shape", "at most 64 dimensions"});
  for (const char* offsets : {"[]", "[0]"}) {
    add(Tensor("\"U8\"", "[4]", offsets), 4, {"data_offsets", "expected 2 values"});
  }
  add(Tensor("\"U8\"", "[4]", "[0,4,4]"), 4, {"data_offsets", "expected 2 values", "more"});
  for (const char* offsets : {"[-1,4]", "[0,4.0]", "[0,\"4\"]", "[null,4]"}) {
    add(Tensor("\"U8\"", "[4]", offsets), 4, {"data_offsets", "unsigned 64-bit integers"});
  }
  for (const char* offsets : {"0", "{}", "null", "\"0,4\""}) {
    add(Tensor("\"U8\"", "[4]", offsets), 4, {"data_offsets", "expected an array"});
  }
  add(Tensor("\"U8\"", "[4]", "[4,0]"), 4, {"data_offsets", "expected begin <= end", "[4,0]"});
  add(Tensor("\"U8\"", "[4]", "[0,5]"), 5, {"data_offsets", "expected 4 bytes", "found 5"});
  add(Tensor("\"F32\"", "[4]", "[0,4]"), 4, {"expected 16 bytes for F32 [4]", "found 4"});
  add(Tensor("\"BF16\"", "[]", "[0,4]"), 4, {"expected 2 bytes", "found 4"});
  add(Tensor("\"U8\"", "[4]", "[18446744073709551611,18446744073709551615]"), 4,
      {"expected to begin at 0", "(hole)"});
  add(TwoTensors("[0,4]", "[3,7]"), 7, {"tensor 'b'", "expected to begin at 4", "(overlap)"});
  add(TwoTensors("[0,4]", "[0,4]"), 8, {"tensor 'b'", "found 0 (overlap)"});
  add(TwoTensors("[0,4]", "[5,9]"), 9, {"tensor 'b'", "found 5 (hole)"});
  add(TwoTensors("[4,8]", "[8,12]"), 12, {"tensor 'a'", "expected to begin at 0", "(hole)"});
  add(TwoTensors("[0,4]", "[4,8]"), 7, {"expected an end of at most 7", "found 8"});
  add(TwoTensors("[0,4]", "[4,8]"), 9, {"expected tensors of 9 bytes", "found 8"});
  add(R"({"t":{}})", 0, {"tensor 't'", "dtype: expected one, found none"});
  add(R"({"t":{"dtype":"U8"}})", 0, {"shape: expected one, found none"});
  add(R"({"t":{"dtype":"U8","shape":[0]}})", 0, {"data_offsets: expected them, found none"});
  add(R"({"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}})", 0, {"tensor 't'", "'x'"});
  add(R"({"t":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0,
      {"tensor 't'", "dtype", "twice"});
  const std::string same = R"("t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  add(absl::StrCat("{", same, ",", same, "}"), 0, {"tensor 't'", "expected once, found twice"});
  add(absl::StrCat("{\"", std::string(1025, 'n'),
                   R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"),
      0, {"1024"});
  return files;
}

TEST_F(MalformedInputTest, Safetensors) {
  std::vector<MalformedCase> cases;
  for (const auto& table : {BadFrames(), BadJson(), BadTensors()}) {
    for (const BadFile& file : table) {
      std::vector<std::string> words = file.words;
      words.push_back("shard.safetensors");
      cases.push_back({absl::StrCat(cases.size(), ": ", file.label),
                       [this, file] {
                         return FinishOf({{"shard.safetensors", file.bytes}});
                       },
                       kBadHeader, std::move(words)});
    }
  }
  Run(cases, 120);
}

TEST_F(MalformedInputTest, IndexJson) {
  std::vector<MalformedCase> cases;
  const auto add = [&](const std::string& json, std::vector<std::string> words) {
    words.push_back("model.safetensors.index.json");
    cases.push_back({json.substr(0, 80),
                     [this, json] {
                       TestFiles files = good_;
                       files["model.safetensors.index.json"] = json;
                       return FinishOf(files);
                     },
                     kBadIndex, std::move(words)});
  };
  for (const char* json : {"", "{", "x", "{\"weight_map\":{}} x", "{'a':1}"}) {
    add(json, {"expected JSON"});
  }
  for (const char* json : {"1", "null", "\"x\"", "true"}) add(json, {"expected an object"});
  add("{}", {"weight_map", "expected an object", "found none"});
  add(R"({"metadata":{"total_size":1}})", {"weight_map", "found none"});
  for (const char* value : {"1", "null", "\"x\"", "true"}) {
    add(absl::StrCat("{\"weight_map\":", value, "}"), {"weight_map", "expected an object"});
  }
  for (const char* value : {"1", "null", "true"}) {
    add(absl::StrCat(R"({"weight_map":{"scale":)", value, "}}"),
        {"tensor 'scale'", "expected the name of a shard"});
  }
  add(R"({"weight_map":{"scale":"other.safetensors"}})",
      {"tensor 'scale'", "expected a shard of the checkpoint", "other.safetensors"});
  add(R"({"weight_map":{"scale":"../model.safetensors"}})", {"expected a shard"});
  add(R"({"weight_map":{"scale":"config.json"}})", {"expected a shard"});
  add(R"({"weight_map":{"nothing":"model.safetensors"}})",
      {"tensor 'nothing'", "found no such tensor there"});
  add(R"({"weight_map":{"scale":"model.safetensors","scale":"model.safetensors"}})",
      {"tensor 'scale'", "expected once, found twice"});
  add("\xef\xbb\xbf{\"weight_map\":{}}", {"byte order mark"});
  add(std::string("{\"weight_map\":{\"\0\":1}}", 22), {"a zero byte"});
  add("{\"x\":" + std::string(40, '[') + std::string(40, ']') + "}", {"at most 16 deep"});
  Run(cases, 24);
}

std::string Golden(const std::string& name) {
  std::ifstream file(absl::StrCat(WDELTA_GOLDEN_DIR, "/", name), std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  EXPECT_FALSE(bytes.empty()) << name;
  return bytes;
}

// Whatever byte is wrong, it is seen before the file becomes a model.
TEST_F(MalformedInputTest, WdeltaFiles) {
  std::vector<MalformedCase> cases;
  const auto add = [&](const std::string& label, const std::string& bytes,
                       const std::string& code_and_reason, std::vector<std::string> words) {
    cases.push_back({label,
                     [this, bytes] {
                       return FinishOf({{"delta.wdelta", bytes}}, v1::WDELTA);
                     },
                     code_and_reason, std::move(words)});
  };
  const std::string good = Golden("version2-root.wdelta");
  const std::string bad = "DATA_LOSS BAD_WDELTA";
  const std::string other_version = "UNIMPLEMENTED UNSUPPORTED_WDELTA";
  add("empty", "", bad, {"delta.wdelta", "expected"});
  add("text", "not a delta, only a few words of text that go on", bad, {"delta.wdelta", "magic"});
  for (const size_t size : {size_t{1}, size_t{7}, size_t{8}, size_t{15}, size_t{16}, size_t{64},
                            good.size() / 2, good.size() - 1}) {
    add(absl::StrCat("cut to ", size), good.substr(0, size), bad, {"delta.wdelta", "expected"});
  }
  add("a byte behind it", good + "x", bad, {"delta.wdelta", "expected"});
  add("a byte before it", "x" + good, bad, {"delta.wdelta", "expected"});
  // The preamble, and the footer from its end.
  for (const size_t at : {size_t{0}, size_t{4}, size_t{8}}) {
    std::string flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x41);
    add(absl::StrCat("flipped at ", at), flipped, at == 8 ? other_version : bad,
        {"delta.wdelta", "expected"});
  }
  for (size_t back = 1; back <= 80; back += 6) {
    std::string flipped = good;
    flipped[good.size() - back] = static_cast<char>(flipped[good.size() - back] ^ 0x41);
    add(absl::StrCat("flipped ", back, " before the end"), flipped, bad,
        {"delta.wdelta", "expected"});
  }
  cases.push_back({"two files",
                   [this, good] {
                     return FinishOf({{"a.wdelta", good}, {"b.wdelta", good}}, v1::WDELTA);
                   },
                   "INVALID_ARGUMENT NOT_ONE_WDELTA",
                   {"expected 1 entry", "found 2"}});
  add("of a parent that is not here", Golden("version2.wdelta"), "NOT_FOUND MODEL_NOT_FOUND",
      {"parent of the .wdelta"});
  const std::string v1_bytes = Golden("v1/int4.wdelta");
  for (const size_t size : {size_t{9}, size_t{20}, v1_bytes.size() / 2, v1_bytes.size() - 1}) {
    add(absl::StrCat("version 1, cut to ", size), v1_bytes.substr(0, size), bad,
        {"delta.wdelta", "expected"});
  }
  for (const size_t at : {size_t{8}, size_t{12}, size_t{40}, v1_bytes.size() - 40}) {
    std::string flipped = v1_bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x41);
    add(absl::StrCat("version 1, flipped at ", at), flipped, at == 8 ? other_version : bad,
        {"delta.wdelta", "expected"});
  }
  Run(cases, 35);
}

}  // namespace
}  // namespace wdelta::testing

// Files that deltatensors wrote give the values that its own loader gave, for ever.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <sstream>

#include "storage/tensor/safetensors.h"
#include "storage/wdelta/v1/dump.h"
#include "storage/wdelta/v1/float_values.h"
#include "tests/wdelta/v1_bytes.h"

namespace wdelta {
namespace {

struct Stored {
  DType dtype;
  std::string bytes;
};
using Tensors = std::map<std::string, Stored>;

std::string ReadGolden(const std::string& name) {
  std::ifstream in(WDELTA_GOLDEN_DIR "/v1/" + name, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  EXPECT_FALSE(bytes.str().empty()) << name;
  return bytes.str();
}

Tensors LoadTensors(const std::string& name) {
  const std::string bytes = ReadGolden(name);
  const auto layout = ReadSafetensorsLayout(V1BytesFile(bytes));
  EXPECT_TRUE(layout.ok()) << layout.status();
  Tensors tensors;
  for (const TensorInfo& info : layout->tensors) {
    tensors[info.name] = {info.dtype, bytes.substr(info.offset_bytes, info.size_bytes)};
  }
  return tensors;
}

Digest HashOf(const Tensors& tensors) {
  Sha256Hasher hasher;
  for (const auto& [name, stored] : tensors) {
    hasher.Update(name);
    hasher.Update(stored.bytes);
  }
  return hasher.Current();
}

// Reconstructs a model `window` elements at a time.
Tensors Apply(const V1Reader& reader, const Tensors& parent, size_t window) {
  Tensors model;
  for (uint32_t t = 0; t < reader.file().tensors.size(); ++t) {
    const V1Tensor& tensor = reader.file().tensors[t];
    const Stored& base = parent.at(tensor.name);
    std::vector<float> values(tensor.element_count);
    EXPECT_TRUE(WidenToFloat32(base.dtype, base.bytes, absl::MakeSpan(values)).ok());
    for (size_t first = 0; first < values.size(); first += window) {
      const auto part = absl::MakeSpan(values).subspan(first, window);
      const absl::Status status = reader.AddDelta(t, first, part);
      EXPECT_TRUE(status.ok()) << status;
    }
    model[tensor.name] = {DType::kF32, std::string(reinterpret_cast<const char*>(values.data()),
                                                   values.size() * sizeof(float))};
  }
  return model;
}

void ExpectSame(const Tensors& found, const Tensors& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, stored] : expected) {
    EXPECT_EQ(found.at(name).bytes, stored.bytes) << name;
  }
}

class V1GoldenTest : public testing::TestWithParam<std::string> {};

TEST_P(V1GoldenTest, GivesTheValuesOfThePackage) {
  const auto reader = OpenV1Bytes(ReadGolden(GetParam() + ".wdelta"));
  ASSERT_TRUE(reader.ok()) << reader.status();
  const Tensors base = LoadTensors("base.safetensors");
  EXPECT_EQ((*reader)->file().parent_hash, HashOf(base));
  EXPECT_EQ(V1StrategyName((*reader)->file().strategy), GetParam());
  const Tensors expected = LoadTensors(GetParam() + ".expected.safetensors");
  for (const size_t window : {size_t{1}, size_t{7}, size_t{64}, size_t{100000}}) {
    ExpectSame(Apply(**reader, base, window), expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Strategies, V1GoldenTest, testing::Values("int4", "sparse", "quantized"),
                         [](const auto& strategy) { return strategy.param; });

TEST(V1GoldenChainTest, EachStepHashesAndGivesTheValuesOfThePackage) {
  const Tensors middle = LoadTensors("int4.expected.safetensors");
  const auto reader = OpenV1Bytes(ReadGolden("chained.wdelta"));
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ((*reader)->file().parent_hash, HashOf(middle));
  ExpectSame(Apply(**reader, middle, 100), LoadTensors("chained.expected.safetensors"));
}

TEST(V1GoldenDumpTest, SaysWhatAFileHolds) {
  const auto reader = OpenV1Bytes(ReadGolden("int4.wdelta"));
  ASSERT_TRUE(reader.ok()) << reader.status();
  const std::string text = DumpV1Text(**reader);
  EXPECT_NE(text.find("wdelta version 1 (deltatensors, lossy)\nstrategy     int4\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("1  int4      [24,33]  7     3168     "), std::string::npos) << text;
  const auto json = DumpV1Json(**reader);
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_NE(json->find("\"version\": 1"), std::string::npos) << *json;
  EXPECT_NE(json->find((*reader)->file().parent_hash.ToHex()), std::string::npos) << *json;
  EXPECT_NE(json->find("\"kept_elements\": 7"), std::string::npos) << *json;
}

}  // namespace
}  // namespace wdelta

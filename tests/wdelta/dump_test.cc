#include "storage/wdelta/dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/wdelta/sample_model.h"

namespace wdelta {
namespace {

using testing::HasSubstr;
using testing::Not;

std::shared_ptr<const WdeltaReader> Sample(bool with_parent) {
  const SampleModel parent = MakeSampleParent();
  return OpenBytes(WriteWdelta(MakeSampleChild(), with_parent ? &parent : nullptr)).value();
}

TEST(DumpTest, TextNamesWhatIsThere) {
  const std::string text = DumpText(*Sample(true)).value();
  EXPECT_THAT(text, HasSubstr("wdelta version 2"));
  EXPECT_THAT(text, HasSubstr(ModelDigest(MakeSampleChild().files).ToHex()));
  EXPECT_THAT(text, HasSubstr(ModelDigest(MakeSampleParent().files).ToHex()));
  EXPECT_THAT(text, HasSubstr("model.safetensors"));
  EXPECT_THAT(text, HasSubstr("[43,16]"));
  EXPECT_THAT(text, HasSubstr("delta-planes:"));
  EXPECT_THAT(DumpText(*Sample(false)).value(), HasSubstr("parent       none"));
}

TEST(DumpTest, TextEscapesControlCharacters) {
  SampleModel model = MakeSampleParent();
  for (StreamInfo& stream : model.streams) {
    if (stream.tensor.name == "rows") stream.tensor.name = "ro\x1b[2Jws";
  }
  const std::string text = DumpText(*OpenBytes(WriteWdelta(model, nullptr)).value()).value();
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr("ro\\033[2Jws"));
}

TEST(DumpTest, JsonAddsUp) {
  const auto reader = Sample(true);
  const nlohmann::json json = nlohmann::json::parse(DumpJson(*reader).value());
  EXPECT_EQ(json["version"], 2);
  EXPECT_EQ(json["chunk_bytes"], kSampleChunkBytes);
  EXPECT_EQ(json["files"].size(), 4u);
  ASSERT_EQ(json["streams"].size(), reader->file().streams.size());
  uint64_t raw_bytes = 0;
  uint64_t stored_bytes = 0;
  for (const auto& stream : json["streams"]) {
    raw_bytes += stream["raw_bytes"].get<uint64_t>();
    stored_bytes += stream["stored_bytes"].get<uint64_t>();
  }
  EXPECT_EQ(json["totals"]["raw_bytes"], raw_bytes);
  EXPECT_EQ(json["totals"]["stored_bytes"], stored_bytes);
  EXPECT_EQ(json["totals"]["overhead_bytes"].get<uint64_t>() + stored_bytes, json["file_bytes"]);
  EXPECT_EQ(json["streams"][4]["name"], "rows");
  EXPECT_EQ(json["streams"][4]["dtype"], "BF16");
  EXPECT_EQ(json["streams"][4]["parent_stream"], 4);
}

TEST(DumpTest, JsonOfARootHasNullParents) {
  const nlohmann::json json = nlohmann::json::parse(DumpJson(*Sample(false)).value());
  EXPECT_TRUE(json["parent_digest"].is_null());
  EXPECT_TRUE(json["streams"][4]["parent_stream"].is_null());
}

}  // namespace
}  // namespace wdelta

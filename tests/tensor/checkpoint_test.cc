#include "storage/tensor/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"

namespace wdelta {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ValidateCheckpointPathTest, Accepts) {
  for (const char* path : {"model.safetensors", "a/b/c.json", ".hidden", "...", "a/..b",
                           "with space", "\xc3\xa4.txt"}) {
    EXPECT_TRUE(ValidateCheckpointPath(path).ok()) << path;
  }
  EXPECT_TRUE(ValidateCheckpointPath(std::string(limits::kMaxPathBytes, 'p')).ok());
}

TEST(ValidateCheckpointPathTest, Refuses) {
  const struct {
    std::string path;
    const char* message;
  } cases[] = {
      {"", "found none"},
      {"/etc/passwd", "found an absolute one"},
      {"..", "found '..'"},
      {"a/../b", "found '..'"},
      {"./a", "found '.'"},
      {"a/.", "found '.'"},
      {"a//b", "found an empty part"},
      {"a/", "found an empty part"},
      {"a\\b", "found a backslash"},
      {"a\nb", "found a control character"},
      {std::string("a\0b", 3), "found a control character"},
      {"a\x7f", "found a control character"},
      {"a\xff", "expected UTF-8"},
      {"\xc0\xae\xc0\xae/a", "expected UTF-8"},
      {std::string(limits::kMaxPathBytes + 1, 'p'), "at most 1024 bytes, found 1025"},
  };
  for (const auto& [path, message] : cases) {
    const absl::Status status = ValidateCheckpointPath(path);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_EQ(ErrorReason(status), "BAD_PATH");
    EXPECT_THAT(status.message(), HasSubstr(message));
    EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
  }
}

TEST(PathKindTest, Suffixes) {
  EXPECT_TRUE(IsSafetensorsPath("a/model-00001-of-00002.safetensors"));
  EXPECT_FALSE(IsSafetensorsPath("model.safetensors.index.json"));
  EXPECT_FALSE(IsSafetensorsPath("safetensors"));
  EXPECT_TRUE(IsIndexPath("a/model.safetensors.index.json"));
  EXPECT_FALSE(IsIndexPath("pytorch_model.bin.index.json"));
}

TEST(AppendStreamsTest, ShardThenSideFiles) {
  SafetensorsLayout layout;
  layout.header_bytes = 100;
  layout.tensors = {
      {.name = "w", .dtype = DType::kF32, .shape = {2}, .offset_bytes = 100, .size_bytes = 8}};
  std::vector<StreamInfo> streams;
  AppendStreams(0, 108, &layout, streams);
  AppendStreams(1, 7, nullptr, streams);
  AppendStreams(2, 0, nullptr, streams);
  ASSERT_EQ(streams.size(), 4u);
  EXPECT_EQ(streams[0].kind, StreamKind::kHeader);
  EXPECT_EQ(streams[0].tensor.size_bytes, 100u);
  EXPECT_EQ(streams[0].tensor.dtype, DType::kU8);
  EXPECT_THAT(streams[0].tensor.shape, ElementsAre(100));
  EXPECT_EQ(streams[1].kind, StreamKind::kTensor);
  EXPECT_EQ(streams[1].tensor.name, "w");
  EXPECT_EQ(streams[1].tensor.offset_bytes, 100u);
  EXPECT_EQ(streams[2].kind, StreamKind::kSideFile);
  EXPECT_EQ(streams[2].file_index, 1u);
  EXPECT_EQ(streams[2].tensor.size_bytes, 7u);
  EXPECT_EQ(streams[2].tensor.name, "");
  EXPECT_EQ(streams[3].file_index, 2u);
  EXPECT_THAT(streams[3].tensor.shape, ElementsAre(0));
  EXPECT_EQ(streams[3].tensor.size_bytes, 0u);
}

TEST(ModelDigestTest, GoldenValues) {
  // SHA-256 of nothing.
  EXPECT_EQ(ModelDigest({}).ToHex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const std::vector<CheckpointFile> files = {
      {.path = "config.json", .size_bytes = 2, .sha256 = Digest::Of("{}")},
      {.path = "model.safetensors", .size_bytes = 3, .sha256 = Digest::Of("abc")}};
  EXPECT_EQ(ModelDigest(files).ToHex(),
            "352cc7490584369a0c3b571371efbbc8baa73e4dc15084f81958656ac7a33ebc");
}

// Two shards and a tensor in each, beside an index in folder `unet`.
Checkpoint TwoShards() {
  Checkpoint checkpoint;
  checkpoint.files = {{.path = "config.json"},
                      {.path = "unet/m-1.safetensors", .is_safetensors = true},
                      {.path = "unet/m-2.safetensors", .is_safetensors = true}};
  checkpoint.streams = {{StreamKind::kSideFile, 0, {}},
                        {StreamKind::kHeader, 1, {}},
                        {StreamKind::kTensor, 1, {.name = "a"}},
                        {StreamKind::kHeader, 2, {}},
                        {StreamKind::kTensor, 2, {.name = "b"}}};
  return checkpoint;
}

std::string IndexError(absl::string_view json) {
  const absl::Status status = ValidateIndex("unet/m.safetensors.index.json", json, TwoShards());
  if (status.ok()) return "OK";
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorReason(status), "BAD_INDEX");
  EXPECT_THAT(status.message(), HasSubstr("index 'unet/m.safetensors.index.json': "));
  return std::string(status.message());
}

TEST(ValidateIndexTest, Accepts) {
  EXPECT_EQ(IndexError(R"({"metadata":{"total_size":8,"weight_map":[{"x":[1,null]}]},)"
                       R"("weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"},"more":"x"})"),
            "OK");
  EXPECT_EQ(IndexError(R"( {"weight_map":{}} )"), "OK");
}

TEST(ValidateIndexTest, Refuses) {
  const struct {
    std::string json;
    const char* message;
  } cases[] = {
      {"", "expected JSON"},
      {"{", "expected JSON, found at byte 2"},
      {"[]", "expected an object, found an array"},
      {"3", "expected an object, found 3"},
      {"{}", "weight_map: expected an object, found none"},
      {R"({"x":{"weight_map":{}}})", "weight_map: expected an object, found none"},
      {R"({"weight_map":null})", "weight_map: expected an object, found null"},
      {R"({"weight_map":[]})", "weight_map: expected an object, found an array"},
      {R"({"weight_map":{},"weight_map":{}})", "weight_map: expected once, found twice"},
      {R"({"weight_map":{"a":1}})", "tensor 'a': expected the name of a shard, found 1"},
      {R"({"weight_map":{"a":{}}})", "tensor 'a': expected the name of a shard, found an object"},
      {R"({"weight_map":{"a":["m-1.safetensors"]}})", "shard, found an array"},
      {R"({"weight_map":{"a":"m-3.safetensors"}})",
       "tensor 'a': expected a shard of the checkpoint, found 'm-3.safetensors'"},
      {R"({"weight_map":{"a":"../config.json"}})", "expected a shard of the checkpoint"},
      {R"({"weight_map":{"a":"unet/m-1.safetensors"}})", "expected a shard of the checkpoint"},
      {R"({"weight_map":{"a":"m-2.safetensors"}})",
       "tensor 'a': expected in shard 'm-2.safetensors', found no such tensor there"},
      {R"({"weight_map":{"a":"m-1.safetensors","a":"m-1.safetensors"}})",
       "tensor 'a': expected once, found twice"},
      {"{\"weight_map\":{\"\xff\":\"\"}}", "ill-formed UTF-8 byte"},
      {"{\"x\":" + std::string(1'000'000, '['), "nested at most 16 deep, found 17"},
  };
  for (const auto& [json, message] : cases) EXPECT_THAT(IndexError(json), HasSubstr(message));
}

}  // namespace
}  // namespace wdelta

#include "tests/wdelta/sample_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "storage/base/checksum.h"
#include "storage/base/status_macros.h"
#include "storage/tensor/safetensors.h"

namespace wdelta {
namespace {

// Only the raw generator is used: it is the same everywhere.
std::string Noise(std::mt19937& random, size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random() & 0xff);
  return bytes;
}

TensorInfo Tensor(std::string name, DType dtype, std::vector<uint64_t> shape) {
  TensorInfo tensor{std::move(name), dtype, std::move(shape), 0, 0};
  tensor.size_bytes = TensorBytes(tensor.dtype, tensor.shape).value();
  return tensor;
}

void AddFile(SampleModel& model, const std::string& path, bool is_safetensors,
             std::vector<TensorInfo> tensors, const std::vector<std::string>& contents) {
  CheckpointFile file{path, 0, Digest(), is_safetensors};
  Sha256Hasher hasher;
  for (size_t i = 0; i < contents.size(); ++i) {
    StreamInfo info;
    info.kind = !is_safetensors ? StreamKind::kSideFile
                : i == 0        ? StreamKind::kHeader
                                : StreamKind::kTensor;
    info.file_index = static_cast<uint32_t>(model.files.size());
    info.tensor = std::move(tensors[i]);
    info.tensor.offset_bytes = file.size_bytes;
    file.size_bytes += contents[i].size();
    hasher.Update(contents[i]);
    model.streams.push_back(std::move(info));
    model.contents.push_back(contents[i]);
  }
  file.sha256 = hasher.Current();
  model.files.push_back(std::move(file));
}

void AddSideFile(SampleModel& model, const std::string& path, const std::string& content) {
  AddFile(model, path, false, {Tensor("", DType::kU8, {content.size()})}, {content});
}

SampleModel MakeModel(const std::string& config, uint64_t rows, const std::string& weights,
                      const std::string& noise) {
  SampleModel model;
  AddSideFile(model, "config.json", config);
  AddSideFile(model, "empty.txt", "");
  std::vector<TensorInfo> tensors = {
      Tensor("constant", DType::kF32, {40}), Tensor("rows", DType::kBF16, {rows, 16}),
      Tensor("same", DType::kBF16, {5, 9}), Tensor("none", DType::kI64, {0, 3}),
      Tensor("noise", DType::kU8, {noise.size()})};
  const std::string header = WriteSafetensorsHeader(tensors, {}).value();
  tensors.insert(tensors.begin(), Tensor("", DType::kU8, {header.size()}));
  std::string constant;
  for (int i = 0; i < 40; ++i) constant += std::string("\x00\x00\x80\x3f", 4);
  std::mt19937 fixed(7);
  AddFile(model, "model.safetensors", true, std::move(tensors),
          {header, constant, weights, Noise(fixed, 90), "", noise});
  std::string notes = config;
  for (int line = 0; line < 20; ++line) notes += "\na line that repeats itself";
  AddSideFile(model, "notes.md", notes);
  return model;
}

}  // namespace

SampleModel MakeSampleParent() {
  std::mt19937 random(1);
  // Drawn one by one: compilers differ in the order of arguments, and golden files rest on it.
  const std::string noise = Noise(random, 100);
  const std::string weights = Noise(random, 40 * 32);
  return MakeModel("{\"layers\": 2}", 40, weights, noise);
}

SampleModel MakeSampleChild() {
  std::mt19937 random(1);
  std::string weights = Noise(random, 40 * 32);
  for (size_t i = 0; i < weights.size(); i += 2) weights[i] ^= static_cast<char>(i / 2 % 3);
  std::mt19937 other(2);
  const std::string noise = Noise(other, 100);
  weights += Noise(other, 3 * 32);
  return MakeModel("{\"layers\": 2, \"tuned\": true}", 43, weights, noise);
}

absl::Status WriteStreams(WdeltaWriter& writer, const SampleModel& model,
                          const SampleModel* parent) {
  ChunkCodec codec;
  for (size_t s = 0; s < model.streams.size(); ++s) {
    const absl::string_view content = model.contents[s];
    std::optional<uint32_t> parent_stream;
    if (parent != nullptr) parent_stream = static_cast<uint32_t>(s);
    WDELTA_RETURN_IF_ERROR(writer.BeginStream(model.streams[s], parent_stream));
    for (size_t at = 0; at < content.size(); at += kSampleChunkBytes) {
      const absl::string_view target = content.substr(at, kSampleChunkBytes);
      std::optional<absl::string_view> base;
      if (parent != nullptr) {
        const absl::string_view all = parent->contents[s];
        base = all.substr(std::min(at, all.size()), target.size());
      }
      WDELTA_ASSIGN_OR_RETURN(
          const EncodedChunk chunk,
          codec.Encode(LaneFormatOf(model.streams[s].tensor.dtype), target, base));
      WDELTA_RETURN_IF_ERROR(writer.AddChunk(chunk, Xxh3(target)));
    }
    WDELTA_RETURN_IF_ERROR(writer.EndStream(Digest::Of(content)));
  }
  return absl::OkStatus();
}

std::string WriteWdelta(const SampleModel& model, const SampleModel* parent) {
  std::string bytes;
  WdeltaWriter writer(
      [&bytes](absl::string_view piece) {
        bytes.append(piece.data(), piece.size());
        return absl::OkStatus();
      },
      kSampleChunkBytes);
  EXPECT_TRUE(writer.Begin().ok());
  const absl::Status streams = WriteStreams(writer, model, parent);
  EXPECT_TRUE(streams.ok()) << streams;
  std::optional<Digest> parent_digest;
  if (parent != nullptr) parent_digest = ModelDigest(parent->files);
  const absl::StatusOr<WdeltaFile> file = writer.Finish(model.files, parent_digest);
  EXPECT_TRUE(file.ok()) << file.status();
  if (file.ok()) {
    EXPECT_EQ(file->file_bytes, bytes.size());
  }
  return bytes;
}

absl::StatusOr<std::shared_ptr<const WdeltaReader>> OpenBytes(std::string bytes) {
  return WdeltaReader::Open(std::make_shared<MemoryFile>(std::move(bytes)));
}

absl::StatusOr<std::vector<std::string>> DecodeStreams(const WdeltaReader& reader,
                                                       const SampleModel* parent) {
  const WdeltaFile& file = reader.file();
  ChunkCodec codec;
  std::vector<std::string> contents;
  for (uint32_t s = 0; s < file.streams.size(); ++s) {
    const WdeltaStream& stream = file.streams[s];
    std::string content(stream.info.tensor.size_bytes, '\0');
    for (uint64_t i = 0; i < stream.chunk_count; ++i) {
      const ChunkSpan span = SpanOfChunk(file, stream, i);
      std::optional<absl::string_view> base;
      if (reader.ChunkNeedsParent(s, i)) {
        if (parent == nullptr || *stream.parent_stream >= parent->contents.size()) {
          return absl::InvalidArgumentError("no such parent stream");
        }
        const absl::string_view all = parent->contents[*stream.parent_stream];
        base = all.substr(std::min<uint64_t>(span.offset_bytes, all.size()), span.size_bytes);
      }
      WDELTA_RETURN_IF_ERROR(
          reader.DecodeChunk(codec, s, i, base, content.data() + span.offset_bytes));
    }
    contents.push_back(std::move(content));
  }
  return contents;
}

}  // namespace wdelta

// Files that use every chunk mode and every strategy stay readable for ever.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "gtest/gtest.h"
#include "storage/base/checksum.h"
#include "storage/tensor/safetensors.h"
#include "tests/wdelta/sample_model.h"

namespace wdelta {
namespace {

constexpr uint64_t kChunkBytes = 8192;
constexpr uint64_t kRows = 50;
constexpr uint64_t kColumns = 96;

struct GoldenFile {
  std::string name;
  LossyParams params;
  bool by_row = false;  // changes differ by row and column
};

std::vector<GoldenFile> GoldenFiles() {
  LossyParams near_lossless{.strategy = Strategy::kNearLossless, .step = 0.0004};
  LossyParams trellis = near_lossless;
  trellis.effort = Effort::kMax;
  const LossyParams sparse{.strategy = Strategy::kSparse, .threshold = 0.002};
  return {{"lossless", {}},
          {"lossless-max", {.effort = Effort::kMax}, true},
          {"near-lossless", near_lossless},
          {"near-lossless-max", trellis},
          {"sparse", sparse},
          {"onebit", {.strategy = Strategy::kOneBit}}};
}

std::string PathOf(const GoldenFile& golden) {
  return std::string(WDELTA_GOLDEN_DIR) + "/modes/" + golden.name + ".wdelta";
}

// A bell of integers from -4096 to 4096: the same on every machine, with every library.
class Bell {
 public:
  explicit Bell(uint64_t seed) : state_(seed) {}
  double Next() {
    int64_t sum = 0;
    for (int i = 0; i < 4; ++i) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      sum += static_cast<int64_t>(state_ >> 53) - 1024;
    }
    return static_cast<double>(sum);
  }

 private:
  uint64_t state_;
};

// The element's bits, cut from those of a float or a double without rounding; as bytes for
// other dtypes.
void AppendValue(DType dtype, double value, std::string& out) {
  const auto single = static_cast<float>(value);
  uint64_t bits = 0;
  int bytes = 1;
  uint32_t single_bits;
  std::memcpy(&single_bits, &single, 4);
  if (dtype == DType::kF64) {
    std::memcpy(&bits, &value, bytes = 8);
  } else if (dtype == DType::kF32) {
    bits = single_bits;
    bytes = 4;
  } else if (dtype == DType::kBF16) {
    bits = single_bits >> 16;
    bytes = 2;
  } else if (dtype == DType::kF16) {
    // Sign, exponent moved by the difference of the biases, upper mantissa; tiny ones are zero.
    const uint32_t exponent = single_bits >> 23 & 0xff;
    bits = single_bits >> 16 & 0x8000;
    if (exponent > 112) bits |= (single_bits >> 13 & 0x3ff) | (exponent - 112) << 10;
    bytes = 2;
  } else {
    bits = static_cast<uint64_t>(static_cast<int64_t>(value * 1000)) & 0xff;
  }
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(bits >> (8 * i)));
}

const std::vector<std::pair<std::string, DType>>& Tensors() {
  static const auto& tensors = *new std::vector<std::pair<std::string, DType>>{
      {"bf16", DType::kBF16}, {"f16", DType::kF16},   {"f32", DType::kF32},
      {"f64", DType::kF64},   {"f8", DType::kF8E4M3}, {"i8", DType::kI8},
      {"rare", DType::kBF16}, {"alone", DType::kBF16}};
  return tensors;
}

SampleModel MakeModel(bool is_child, bool by_row = false) {
  SampleModel model;
  std::vector<TensorInfo> infos;
  std::vector<std::string> contents;
  uint64_t seed = 1;
  for (const auto& [name, dtype] : Tensors()) {
    Bell base(seed), change(seed + 1000);
    ++seed;
    std::string bytes;
    for (uint64_t i = 0; i < kRows * kColumns; ++i) {
      double value = base.Next() / 50'000;
      double delta = change.Next() / 2'000'000;
      if (by_row) {
        const auto octaves = static_cast<int>(i / kColumns * 7 % 5 + i % kColumns * 3 % 5);
        delta = std::ldexp(delta, octaves - 4);
      }
      const bool changes = name == "rare" ? i % 997 == 5 : true;
      if (is_child && changes) value += delta;
      AppendValue(dtype, value, bytes);
    }
    infos.push_back({name, dtype, {kRows, kColumns}, 0, bytes.size()});
    contents.push_back(std::move(bytes));
  }
  const std::string header = WriteSafetensorsHeader(infos, {}).value();
  TensorInfo plain;
  plain.shape = {header.size()};
  plain.size_bytes = header.size();
  infos.insert(infos.begin(), plain);
  contents.insert(contents.begin(), header);
  uint64_t offset = 0;
  for (size_t i = 0; i < infos.size(); ++i) {
    infos[i].offset_bytes = offset;
    offset += infos[i].size_bytes;
    model.streams.push_back({i == 0 ? StreamKind::kHeader : StreamKind::kTensor, 0, infos[i]});
  }
  model.contents = std::move(contents);
  model.files.push_back({"model.safetensors", offset, {}, true});
  return model;
}

void SetDigest(SampleModel& model) {
  std::string all;
  for (const std::string& content : model.contents) all += content;
  model.files[0].sha256 = Digest::Of(all);
}

// Encodes `model` and replaces its contents by what decoding gives.
std::string Write(const LossyParams& params, SampleModel& model, const SampleModel& parent) {
  std::string bytes;
  WdeltaWriter writer(
      [&bytes](absl::string_view piece) {
        bytes.append(piece.data(), piece.size());
        return absl::OkStatus();
      },
      kChunkBytes);
  EXPECT_TRUE(writer.Begin().ok());
  ChunkCodec codec;
  for (uint32_t s = 0; s < model.streams.size(); ++s) {
    const TensorInfo& tensor = model.streams[s].tensor;
    const bool alone = tensor.name == "alone";
    EXPECT_TRUE(
        writer.BeginStream(model.streams[s], alone ? std::nullopt : std::optional<uint32_t>(s))
            .ok());
    std::string& content = model.contents[s];
    for (size_t at = 0; at < content.size(); at += kChunkBytes) {
      const std::string target = content.substr(at, kChunkBytes);
      const std::string base = parent.contents[s].substr(at, kChunkBytes);
      EncodedChunk chunk;
      std::string decoded = target;
      if (params.strategy != Strategy::kLossless && CanBeLossy(tensor.dtype) && !alone) {
        const ChunkGeometry geometry{kColumns, at / LaneBytes(tensor.dtype)};
        auto lossy = codec.EncodeLossy(tensor.dtype, geometry, target, base, params);
        EXPECT_TRUE(lossy.ok()) << lossy.status();
        chunk = std::move(lossy->chunk);
        decoded = std::move(lossy->reconstructed);
      } else {
        const ChunkGeometry geometry{kColumns, at / LaneBytes(tensor.dtype)};
        chunk = *codec.Encode(LaneFormatOf(tensor.dtype), target,
                              alone ? std::nullopt : std::optional<absl::string_view>(base),
                              params.effort, geometry);
      }
      EXPECT_TRUE(writer.AddChunk(chunk, Xxh3(decoded)).ok());
      content.replace(at, decoded.size(), decoded);
    }
    EXPECT_TRUE(writer.EndStream(Digest::Of(content)).ok());
  }
  SetDigest(model);
  EXPECT_TRUE(writer.Finish(model.files, ModelDigest(parent.files)).ok());
  return bytes;
}

SampleModel MakeParent() {
  SampleModel parent = MakeModel(false);
  SetDigest(parent);
  return parent;
}

std::shared_ptr<const WdeltaReader> OpenGolden(const GoldenFile& golden) {
  auto file = NewPosixFileSystem()->OpenForRead(PathOf(golden));
  EXPECT_TRUE(file.ok()) << file.status();
  auto reader = WdeltaReader::Open(*std::move(file));
  EXPECT_TRUE(reader.ok()) << reader.status();
  return *std::move(reader);
}

TEST(GoldenModesTest, EveryStrategyDecodesToItsDigests) {
  const SampleModel parent = MakeParent();
  for (const GoldenFile& golden : GoldenFiles()) {
    SCOPED_TRACE(golden.name);
    const auto reader = OpenGolden(golden);
    EXPECT_EQ(reader->file().parent_digest, ModelDigest(parent.files));
    const auto contents = DecodeStreams(*reader, &parent);
    ASSERT_TRUE(contents.ok()) << contents.status();
    std::string all;
    for (size_t s = 0; s < contents->size(); ++s) {
      EXPECT_EQ(Digest::Of((*contents)[s]), reader->file().streams[s].sha256) << s;
      all += (*contents)[s];
    }
    EXPECT_EQ(Digest::Of(all), reader->file().files[0].sha256);
    if (golden.params.strategy == Strategy::kLossless) {
      EXPECT_EQ(*contents, MakeModel(true, golden.by_row).contents);
    }
  }
}

TEST(GoldenModesTest, TheFilesUseTheModesThatTheyAreKeptFor) {
  std::set<ChunkMode> modes;
  for (const GoldenFile& golden : GoldenFiles()) {
    const auto reader = OpenGolden(golden);
    for (const WdeltaChunk& chunk : reader->file().chunks) modes.insert(chunk.mode);
  }
  for (const ChunkMode mode :
       {ChunkMode::kContextDelta, ChunkMode::kDirect, ChunkMode::kSparse, ChunkMode::kScaledDelta,
        ChunkMode::kQuantised, ChunkMode::kOneBit}) {
    EXPECT_TRUE(modes.contains(mode)) << ChunkModeName(mode);
  }
}

// Writes the files that there are not yet: those of a released version stay as they are.
TEST(GoldenModesTest, DISABLED_WriteFiles) {
  const SampleModel parent = MakeParent();
  for (const GoldenFile& golden : GoldenFiles()) {
    if (std::filesystem::exists(PathOf(golden))) continue;
    SampleModel child = MakeModel(true, golden.by_row);
    std::ofstream(PathOf(golden), std::ios::binary) << Write(golden.params, child, parent);
  }
}

}  // namespace
}  // namespace wdelta

// Models whose parent has another dtype are coded against its numbers.
#include <random>

#include "gmock/gmock.h"
#include "storage/base/limits.h"
#include "storage/codec/converted_parent.h"
#include "storage/engine/scrub/damage.h"
#include "tests/engine/delta_route_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

constexpr char kPath[] = "model.safetensors";
constexpr DType kDTypes[] = {DType::kF16, DType::kBF16, DType::kF32, DType::kF64};

class ConvertedParentTest : public DeltaRouteTest {
 protected:
  // One of several chunks, whatever its dtype; one row of a matrix; none.
  static std::vector<TestTensor> Weights(uint32_t seed) {
    return {RandomWeights("big", {700, 512}, seed), RandomWeights("small", {1, 33}, seed + 1),
            RandomWeights("empty", {0, 8}, seed + 2), RandomWeights("scale", {}, seed + 3)};
  }
  static std::vector<TestTensor> Converted(std::vector<TestTensor> tensors, DType to) {
    for (TestTensor& tensor : tensors) {
      if (tensor.dtype == to) continue;
      std::string converted;
      ConvertNumbers(tensor.dtype, tensor.data, to, converted);
      tensor.data = converted;
      tensor.dtype = to;
    }
    return tensors;
  }
  static Files FilesOf(const std::vector<TestTensor>& tensors) {
    return {{kPath, BuildSafetensors(tensors)}};
  }
  // Of BF16.
  static std::vector<double> Numbers(const std::string& bytes) {
    std::string converted;
    ConvertNumbers(DType::kBF16, bytes, DType::kF64, converted);
    std::vector<double> numbers(converted.size() / sizeof(double));
    std::memcpy(numbers.data(), converted.data(), converted.size());
    return numbers;
  }
  void Store(const std::string& name, const Files& files,
             const std::vector<std::string>& parents = {}) {
    ASSERT_TRUE(Upload(name, files, parents).ok());
    RunJobs();
    EXPECT_TRUE(ReadBack(name) == files) << name;
  }
  const WdeltaFile& StoredFile(const std::string& name) {
    source_ = *Open(name);
    return source_->stored()->file();
  }

 private:
  ContentSourcePtr source_;  // whose file was asked for last
};

TEST_F(ConvertedParentTest, WhatIsOnlyConvertedTakesNoBytes) {
  uint32_t seed = 0;
  for (const DType from : kDTypes) {
    for (const DType to : kDTypes) {
      if (from == to) continue;
      seed += 10;
      const std::string name = absl::StrCat(DTypeName(from), "-", DTypeName(to));
      // What F16 can tell: a conversion of a conversion would lose.
      const auto base = Converted(Converted(Weights(seed), DType::kF16), from);
      Store(absl::StrCat(name, "-base"), FilesOf(base));
      const auto tuned = Converted(base, to);
      Store(name, FilesOf(tuned), {absl::StrCat(name, "-base")});
      EXPECT_LT(RecordOf(name).stored_bytes(), 2000u) << name;
      const WdeltaFile& file = StoredFile(name);
      for (const WdeltaStream& stream : file.streams) {
        if (stream.info.kind != StreamKind::kTensor) continue;
        EXPECT_EQ(stream.parent_dtype, from) << name << ", " << stream.info.tensor.name;
      }
    }
  }
}

TEST_F(ConvertedParentTest, AFineTuneOfAnotherDTypeIsADelta) {
  const auto base = Weights(1);
  Store("base", FilesOf(base));
  auto tuned = Weights(1);
  for (TestTensor& tensor : tuned) tensor = FineTuned(tensor, 7);
  Store("same", FilesOf(tuned), {"base"});
  Store("other", FilesOf(Converted(tuned, DType::kF32)), {"base"});
  EXPECT_EQ(RecordOf("other").storage_depth(), 2u);  // "same" is nearer
  EXPECT_LT(RecordOf("other").stored_bytes(), 2000u);

  // Ranges that are no chunks, after a restart: nothing is decoded yet.
  Restart();
  const std::string whole = FilesOf(Converted(tuned, DType::kF32)).at(kPath);
  const std::string big = Converted(tuned, DType::kF32)[0].data;
  const ContentSourcePtr source = *Open("other");
  std::mt19937 random(3);
  for (int i = 0; i < 50; ++i) {
    const size_t offset = random() % big.size();
    std::string part(1 + random() % std::min<size_t>(big.size() - offset, 3000), '\0');
    ASSERT_TRUE(source->Read(1, offset, part.size(), part.data()).ok());
    EXPECT_TRUE(part == big.substr(offset, part.size())) << offset;
  }
}

TEST_F(ConvertedParentTest, AParentWithFewerRows) {
  Store("base", FilesOf({RandomWeights("w", {300, 512}, 1)}));
  auto grown = RandomWeights("w", {300, 512}, 1);
  const auto more = RandomWeights("w", {11, 512}, 2);
  grown.shape = {311, 512};
  grown.data += more.data;
  Store("grown", FilesOf(Converted({grown}, DType::kF64)), {"base"});
  EXPECT_EQ(RecordOf("grown").storage_parent_id(), RecordOf("base").id());
  EXPECT_LT(RecordOf("grown").stored_bytes(), 2 * more.data.size());
}

TEST_F(ConvertedParentTest, NumbersThatHaveNoEqualComeBackAll) {
  std::mt19937_64 random(5);
  TestTensor wild{"w", DType::kF32, {64, 512}, {}};
  for (int i = 0; i < 64 * 512 / 2; ++i) {
    const uint64_t bits = random();
    wild.data.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
  }
  Store("f32", FilesOf({wild}));
  Store("f16", FilesOf(Converted({wild}, DType::kF16)), {"f32"});
  EXPECT_LT(RecordOf("f16").stored_bytes(), 2000u);
  TestTensor other = Converted({wild}, DType::kBF16)[0];
  for (size_t i = 0; i < other.data.size(); i += 64) other.data[i] ^= 0x55;
  Store("bf16", FilesOf({other}), {"f32"});
}

TEST_F(ConvertedParentTest, IntegersAreNot) {
  TestTensor integers{"w", DType::kI16, {64, 64}, RandomWeights("w", {64, 64}, 1).data};
  Store("integers", FilesOf({integers}));
  Store("weights", FilesOf({RandomWeights("w", {64, 64}, 2)}), {"integers"});
  EXPECT_EQ(RecordOf("weights").storage_parent_id(), "");
}

TEST_F(ConvertedParentTest, ADiffDoesNotTakeConvertedForEqual) {
  const auto base = Weights(1);
  Store("base", FilesOf(base));
  Store("half", FilesOf(Converted(base, DType::kF16)), {"base"});
  EXPECT_EQ(ChangedTensors("base", "half"), 4);
}

TEST_F(ConvertedParentTest, LossIsMeasuredOnWhatIsServed) {
  const auto base = Converted({RandomWeights("w", {300, 512}, 1)}, DType::kF32);
  Store("base", FilesOf(base));
  TestTensor tuned = RandomWeights("w", {300, 512}, 1);
  tuned = FineTuned(tuned, 3);
  StartUploadParams params;
  params.request_id = "lossy";
  params.name = "lossy";
  params.parents = {{"base"}};
  params.fidelity.mutable_all()->set_strategy(store::v1::ONE_BIT);
  ASSERT_TRUE(Upload(params, FilesOf({tuned})).ok());
  RunJobs();
  const WdeltaFile& file = StoredFile("lossy");
  ASSERT_TRUE(file.fidelity.has_value());
  ASSERT_EQ(file.fidelity->streams.size(), 1u);
  EXPECT_EQ(file.streams[file.fidelity->streams[0].stream].parent_dtype, DType::kF32);
  const std::string served = ReadBack("lossy").at(kPath);
  const std::vector<double> numbers = Numbers(served.substr(served.size() - tuned.data.size()));
  const std::vector<double> uploaded = Numbers(tuned.data);
  const std::vector<double> parent = Numbers(RandomWeights("w", {300, 512}, 1).data);
  double squared_error = 0, squared_delta = 0;
  for (size_t i = 0; i < numbers.size(); ++i) {
    squared_error += (numbers[i] - uploaded[i]) * (numbers[i] - uploaded[i]);
    squared_delta += (uploaded[i] - parent[i]) * (uploaded[i] - parent[i]);
  }
  EXPECT_GT(squared_error, 0);
  EXPECT_NEAR(file.fidelity->streams[0].squared_error, squared_error, 1e-9 * squared_error);
  EXPECT_NEAR(file.fidelity->streams[0].squared_delta, squared_delta, 1e-9 * squared_delta);
}

TEST_F(ConvertedParentTest, ADeltaGoesToThoseWhoHoldTheParent) {
  const auto base = Weights(1);
  Store("base", FilesOf(base));
  Store("full", FilesOf(Converted(base, DType::kF32)), {"base"});
  EXPECT_EQ(ExpectRoute("full", "base").size(), 1u);
  EXPECT_EQ(ExpectRoute("base", "full").size(), 1u);
}

TEST_F(ConvertedParentTest, DamageIsThatOfTheSameNumbers) {
  const std::vector<TestTensor> base = {RandomWeights("w", {1024, 512}, 1)};  // two chunks
  Store("base", FilesOf(base));
  Store("full", FilesOf(Converted(base, DType::kF32)), {"base"});  // four
  const auto spans = [&](const std::string& name, LostSpan lost) {
    std::vector<std::pair<uint64_t, uint64_t>> found;
    for (const LostSpan& span : SpansThatNeed(*(*Open(name))->stored(), {lost})) {
      EXPECT_EQ(span.stream, 1u);
      found.emplace_back(span.begin_bytes / limits::kChunkBytes,
                         span.end_bytes / limits::kChunkBytes);
    }
    return found;
  };
  using Chunks = std::vector<std::pair<uint64_t, uint64_t>>;
  EXPECT_EQ(spans("full", {1, limits::kChunkBytes, 2 * limits::kChunkBytes}),
            (Chunks{{2, 3}, {3, 4}}));
}

TEST_F(ConvertedParentTest, AWrongParentIsRefused) {
  const auto base = Weights(1);
  Store("base", FilesOf(base));
  Store("full", FilesOf(Converted(base, DType::kF32)), {"base"});
  const ContentSourcePtr full = *Open("full");
  const ContentSourcePtr parent = *Open("base");
  // A parent of the same digest, whose table says another dtype.
  class Liar final : public ContentSource {
   public:
    explicit Liar(ContentSourcePtr inner)
        : inner_(std::move(inner)), checkpoint_(inner_->checkpoint()) {
      for (StreamInfo& stream : checkpoint_.streams) stream.tensor.dtype = DType::kF16;
    }
    const Checkpoint& checkpoint() const override { return checkpoint_; }
    std::optional<Digest> StreamDigest(uint32_t stream) const override {
      return inner_->StreamDigest(stream);
    }
    absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                      char* destination) const override {
      return inner_->Read(stream, offset, size, destination);
    }

   private:
    const ContentSourcePtr inner_;
    Checkpoint checkpoint_;
  };
  const auto opened = WdeltaSource::Open("full", full->stored(),
                                         std::make_shared<const Liar>(parent), &codecs_, &cache_);
  EXPECT_TRUE(absl::IsDataLoss(opened.status())) << opened.status();
  EXPECT_THAT(std::string(opened.status().message()), ::testing::HasSubstr("parent of dtype BF16"));
}

}  // namespace
}  // namespace wdelta::testing

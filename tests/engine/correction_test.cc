// Fine-tunes of low rank are coded against corrected parents.
#include <cmath>
#include <random>

#include "gmock/gmock.h"
#include "storage/base/limits.h"
#include "storage/base/thread_pool.h"
#include "storage/codec/converted_parent.h"
#include "storage/engine/delta_fetch/checked_delta.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/storage_plan.h"
#include "storage/engine/scrub/damage.h"
#include "tests/engine/delta_route_fixture.h"
#include "tests/engine/low_rank_tensors.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

using ::testing::HasSubstr;

class CorrectionTest : public DeltaRouteTest {
 protected:
  static Files FilesWith(const TestTensor& tensor) { return {{kPath, BuildSafetensors({tensor})}}; }
  void Store(const std::string& name, const TestTensor& tensor, const std::string& parent = "") {
    Push(name, FilesWith(tensor), parent);
    EXPECT_TRUE(ReadBack(name) == FilesWith(tensor)) << name;
  }
  // Of the only tensor.
  WdeltaStream StreamOf(const std::string& name) {
    return (*Open(name))->stored()->file().streams[1];
  }
  uint64_t PayloadBytes(const std::string& name) {
    const ContentSourcePtr source = *Open(name);
    return PayloadBytesOf(source->stored()->file(), source->stored()->file().streams[1]);
  }
  // What the chunks would take against the parent as it is.
  static uint64_t BytesWithout(const TestTensor& target, const TestTensor& base) {
    std::string parent = base.data;
    if (base.dtype != target.dtype) {
      ConvertNumbers(base.dtype, base.data, target.dtype, parent);
    }
    ChunkCodec codec;
    uint64_t size_bytes = 0;
    for (size_t at = 0; at < target.data.size(); at += limits::kChunkBytes) {
      size_bytes += codec
                        .Encode(LaneFormatOf(target.dtype),
                                absl::string_view(target.data).substr(at, limits::kChunkBytes),
                                absl::string_view(parent).substr(at, limits::kChunkBytes))
                        ->payload.size();
    }
    return size_bytes;
  }
  std::string Encode(const std::string& target, const std::string& parent, int threads) {
    DeltaEncoderInput input;
    input.target = *Open(target);
    input.parent = *Open(parent);
    input.parent_streams = MatchStreams(input.target->checkpoint(), input.parent->checkpoint());
    input.advance = [](uint64_t) { return absl::OkStatus(); };
    ThreadPool pool(threads);
    std::string bytes;
    const auto file = EncodeDelta(input, &pool, [&](absl::string_view more) {
      bytes.append(more.data(), more.size());
      return absl::OkStatus();
    });
    EXPECT_TRUE(file.ok()) << file.status();
    return bytes;
  }
};

TEST_F(CorrectionTest, MergedAdaptersTakeAFractionOfTheBytes) {
  struct Case {
    DType from;
    DType to;
    uint64_t rows, columns;
    uint32_t rank;
    double most;  // of the bytes without
  };
  const Case cases[] = {{DType::kBF16, DType::kBF16, 600, 1001, 1, 0.3},
                        {DType::kBF16, DType::kBF16, 700, 1001, 8, 0.45},
                        {DType::kF16, DType::kF16, 600, 1001, 8, 0.45},
                        {DType::kF32, DType::kF32, 600, 1001, 8, 0.45},
                        {DType::kF32, DType::kBF16, 600, 1001, 8, 0.5},
                        {DType::kBF16, DType::kF32, 600, 1001, 8, 0.5},
                        {DType::kF32, DType::kF32, 1100, 1030, 64, 0.7}};
  int number = 0;
  for (const Case& c : cases) {
    const std::string name =
        absl::StrCat("m", ++number, "-", DTypeName(c.from), "-", DTypeName(c.to), "-", c.rank);
    SCOPED_TRACE(name);
    const TestTensor base = Weights(c.from, c.rows, c.columns, number);
    const TestTensor merged = Merged(base, c.rank, 6e-4f, c.to);
    Store(absl::StrCat(name, "-base"), base);
    Store(name, merged, absl::StrCat(name, "-base"));
    const WdeltaStream stream = StreamOf(name);
    const uint64_t without = BytesWithout(merged, base);
    const double share = static_cast<double>(PayloadBytes(name)) / static_cast<double>(without);
    EXPECT_LT(share, c.most);
    ASSERT_TRUE(stream.correction.has_value());
    EXPECT_EQ(stream.correction->form.rank, c.rank);
    RecordProperty(name, absl::StrCat(share));
  }
}

TEST_F(CorrectionTest, RangesAreThoseOfTheWhole) {
  const TestTensor base = Weights(DType::kBF16, 700, 1001, 1);
  const TestTensor merged = Merged(base, 4, 6e-4f, DType::kBF16);
  Store("base", base);
  Store("merged", merged, "base");
  ASSERT_TRUE(StreamOf("merged").correction.has_value());
  Restart();
  const ContentSourcePtr source = *Open("merged");
  std::mt19937 random(3);
  for (int i = 0; i < 50; ++i) {
    const size_t offset = random() % merged.data.size();
    std::string part(1 + random() % std::min<size_t>(merged.data.size() - offset, 3000), '\0');
    ASSERT_TRUE(source->Read(1, offset, part.size(), part.data()).ok());
    EXPECT_TRUE(part == merged.data.substr(offset, part.size())) << offset;
  }
}

TEST_F(CorrectionTest, OtherFineTunesHaveNone) {
  const TestTensor base = Weights(DType::kBF16, 600, 1001, 1);
  Store("base", base);
  Store("few", FineTuned(base, 3), "base");
  Store("all", Noised(base, 6e-4f, 9), "base");
  EXPECT_EQ(RecordOf("all").storage_parent_id(), RecordOf("base").id());
  EXPECT_FALSE(StreamOf("few").correction.has_value());
  EXPECT_FALSE(StreamOf("all").correction.has_value());
}

// One chunk is all of each: they are looked at when they are encoded.
TEST_F(CorrectionTest, SmallTensorsHaveTheirOwn) {
  std::vector<TestTensor> base, merged;
  for (uint32_t i = 0; i < 9; ++i) {
    base.push_back(Weights(DType::kBF16, 200 + i, 300, i + 1));
    base.back().name = absl::StrCat("w", i);
    merged.push_back(i % 3 == 0   ? Merged(base.back(), 2, 6e-4f, DType::kBF16)
                     : i % 3 == 1 ? Noised(base.back(), 6e-4f, 9)
                                  : base.back());
  }
  Push("base", {{kPath, BuildSafetensors(base)}});
  Push("merged", {{kPath, BuildSafetensors(merged)}}, "base");
  EXPECT_TRUE(ReadBack("merged") == (Files{{kPath, BuildSafetensors(merged)}}));
  const ContentSourcePtr source = *Open("merged");
  for (uint32_t i = 0; i < 9; ++i) {
    const WdeltaStream& stream = source->stored()->file().streams[i + 1];
    EXPECT_EQ(stream.correction.has_value(), i % 3 == 0) << i;
  }
  const std::string bytes = Encode("merged", "base", 1);
  EXPECT_TRUE(bytes == Encode("merged", "base", 3));
}

TEST_F(CorrectionTest, NumbersThatAreNotFiniteComeBack) {
  TestTensor base = Weights(DType::kF16, 600, 1001, 1);
  TestTensor merged = Merged(base, 4, 6e-4f, DType::kF16);
  std::mt19937 random(5);
  for (int i = 0; i < 300; ++i) {
    const size_t at = random() % (base.data.size() / 2) * 2 + 1;
    base.data[at] = static_cast<char>(i % 2 == 0 ? 0x7c : 0xff);
    if (i % 3 == 0) merged.data[at] = static_cast<char>(0x7e);
  }
  Store("base", base);
  Store("merged", merged, "base");
  EXPECT_TRUE(StreamOf("merged").correction.has_value());
}

TEST_F(CorrectionTest, EncodingIsTheSameForAnyNumberOfThreads) {
  const TestTensor base = Weights(DType::kBF16, 700, 1001, 1);
  Store("base", base);
  Store("merged", Merged(base, 4, 6e-4f, DType::kBF16), "base");
  const std::string bytes = Encode("merged", "base", 1);
  EXPECT_TRUE(bytes == Encode("merged", "base", 3));
  // What is stored stays as it is.
  EXPECT_EQ(Digest::Of(bytes).ToBytes(), RecordOf("merged").delta_digest());
}

TEST_F(CorrectionTest, ADeltaGoesToThoseWhoHoldTheParent) {
  const TestTensor base = Weights(DType::kBF16, 700, 1001, 1);
  const TestTensor merged = Merged(base, 4, 6e-4f, DType::kBF16);
  Store("base", base);
  Store("merged", merged, "base");
  Store("next", FineTuned(merged, 3), "merged");
  ASSERT_TRUE(StreamOf("merged").correction.has_value());
  EXPECT_EQ(ExpectRoute("merged", "base").size(), 1u);
  ExpectRoute("next", "base");
  ExpectRoute("base", "merged");
}

TEST_F(CorrectionTest, AFoldedDeltaBetweenMergesIsEstimatedWithItsCorrection) {
  const TestTensor base = Weights(DType::kF16, 700, 1001, 1);
  Store("base", base);
  Store("one", Merged(base, 4, 6e-4f, DType::kF16), "base");
  Store("two", Merged(base, 4, 3e-4f, DType::kF16), "base");
  const std::vector<DeltaStep> steps = ExpectRoute("two", "one");
  ASSERT_EQ(steps.size(), 1u);
  ASSERT_TRUE(steps[0].is_folded());
  const auto size_bytes = static_cast<double>(BytesOf(steps[0])->size());
  EXPECT_NEAR(static_cast<double>(steps[0].size_bytes), size_bytes, 0.1 * size_bytes);
}

TEST_F(CorrectionTest, ADiffTellsTheChange) {
  const TestTensor base = Weights(DType::kBF16, 600, 1001, 1);
  Store("base", base);
  Store("merged", Merged(base, 1, 6e-4f, DType::kBF16), "base");
  ASSERT_TRUE(StreamOf("merged").correction.has_value());
  EXPECT_EQ(ChangedTensors("base", "merged"), 1);
}

TEST_F(CorrectionTest, DamagedFactorsLoseTheTensor) {
  const TestTensor base = Weights(DType::kBF16, 700, 1001, 1);
  Store("base", base);
  Store("merged", Merged(base, 4, 6e-4f, DType::kBF16), "base");
  const WdeltaStream stream = StreamOf("merged");
  ASSERT_TRUE(stream.correction.has_value());
  DamageDelta(RecordOf("merged"), stream.correction->payload_offset + 100);
  Restart();
  const ContentSourcePtr source = *Open("merged");
  std::string part(10, '\0');
  const absl::Status status = source->Read(1, 0, part.size(), part.data());
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  const auto damage =
      FindDamage(store_->reader(), RecordOf("merged"), [](uint64_t) { return absl::OkStatus(); });
  ASSERT_TRUE(damage.ok()) << damage.status();
  ASSERT_EQ(damage->spans.size(), stream.chunk_count);
  EXPECT_EQ(damage->spans[0].stream, 1u);
  const auto delta = *CheckedDelta::Open("merged", store_->reader().OpenDelta(RecordOf("merged")));
  std::string bytes(*delta->SizeBytes(), '\0');
  EXPECT_TRUE(absl::IsDataLoss(delta->Read(0, bytes.data(), bytes.size())));
}

TEST_F(CorrectionTest, PiecesOfAStoredDeltaCutNoFactors) {
  const TestTensor base = Weights(DType::kBF16, 700, 1001, 1);
  TestTensor other = Weights(DType::kF32, 400, 1001, 2);
  other.name = "other";  // stored before, and larger than a piece
  Store("base", base);
  Push("merged", {{kPath, BuildSafetensors({other, Merged(base, 8, 6e-4f, DType::kBF16)})}},
       "base");
  const ContentSourcePtr source = *Open("merged");
  const WdeltaStream& stream = source->stored()->file().streams[2];
  ASSERT_TRUE(stream.correction.has_value());
  const uint64_t begin = stream.correction->payload_offset;
  const uint64_t size_bytes = *FactorBytes(stream.info.tensor, stream.correction->form);
  ASSERT_GT(begin, limits::kFetchPieceBytes);
  const auto delta = *CheckedDelta::Open("merged", store_->reader().OpenDelta(RecordOf("merged")));
  // A piece of full size would end in the middle of the factors.
  const uint64_t offset = begin + size_bytes / 2 - limits::kFetchPieceBytes;
  const auto cursor = store_->reader().NewFileCursor(delta, source->stored()->file().file_bytes,
                                                     delta->PiecesFrom(offset));
  const auto piece = *cursor->Next();
  ASSERT_TRUE(piece.has_value());
  EXPECT_EQ(offset + piece->data.size(), begin);
}

TEST_F(CorrectionTest, AParentOfAnotherShapeIsRefused) {
  const TestTensor base = Weights(DType::kBF16, 600, 1001, 1);
  Store("base", base);
  Store("merged", Merged(base, 4, 6e-4f, DType::kBF16), "base");
  ASSERT_TRUE(StreamOf("merged").correction.has_value());
  // A parent of the same digest, whose table says another shape.
  class Liar final : public ContentSource {
   public:
    explicit Liar(ContentSourcePtr inner)
        : inner_(std::move(inner)), checkpoint_(inner_->checkpoint()) {
      std::swap(checkpoint_.streams[1].tensor.shape[0], checkpoint_.streams[1].tensor.shape[1]);
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
  const ContentSourcePtr merged = *Open("merged");
  const auto opened = WdeltaSource::Open(
      "merged", merged->stored(), std::make_shared<const Liar>(*Open("base")), &codecs_, &cache_);
  EXPECT_TRUE(absl::IsDataLoss(opened.status())) << opened.status();
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("parent of the same shape"));
}

}  // namespace
}  // namespace wdelta::testing

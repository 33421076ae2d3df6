// How corrections are looked for: what is estimated, what is held, and what effort fast leaves out.
#include <cmath>

#include "gmock/gmock.h"
#include "hwy/targets.h"
#include "storage/base/limits.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/encoding/chunk_encoder.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/low_rank/correction_choice.h"
#include "storage/engine/encoding/low_rank/range_finder.h"
#include "storage/engine/encoding/low_rank/rank_estimate.h"
#include "storage/engine/encoding/low_rank/share_estimate.h"
#include "storage/engine/encoding/storage_plan.h"
#include "storage/tensor/safetensors.h"
#include "tests/engine/delta_route_fixture.h"
#include "tests/engine/low_rank_tensors.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

// A checkpoint of one file, that is stored nowhere.
class MemorySource final : public ContentSource {
 public:
  explicit MemorySource(const std::vector<TestTensor>& tensors)
      : MemorySource(BuildSafetensors(tensors)) {}
  const Checkpoint& checkpoint() const override { return checkpoint_; }
  absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                    char* destination) const override {
    const uint64_t begin = checkpoint_.streams[stream].tensor.offset_bytes + offset;
    return file_.Read(begin, destination, size);
  }
  std::optional<Digest> StreamDigest(uint32_t) const override { return std::nullopt; }

 private:
  explicit MemorySource(const std::string& bytes) : file_(bytes) {
    const SafetensorsLayout layout = *ReadSafetensorsLayout(file_);
    CheckpointFile& file = checkpoint_.files.emplace_back();
    file.path = kPath;
    file.is_safetensors = true;
    file.size_bytes = bytes.size();
    file.sha256 = Digest::Of(bytes);
    AppendStreams(0, bytes.size(), &layout, checkpoint_.streams);
  }

  const StringFile file_;
  Checkpoint checkpoint_;
};

class LowRankSearchTest : public ::testing::Test {
 protected:
  static DeltaEncoderInput Input(const std::vector<TestTensor>& target,
                                 const std::vector<TestTensor>& parent) {
    DeltaEncoderInput input;
    input.target = std::make_shared<const MemorySource>(target);
    input.parent = std::make_shared<const MemorySource>(parent);
    input.parent_streams = MatchStreams(input.target->checkpoint(), input.parent->checkpoint());
    input.advance = [](uint64_t) { return absl::OkStatus(); };
    return input;
  }
  static MeasuredCorrection Choose(const DeltaEncoderInput& input, uint32_t stream,
                                   bool is_measured) {
    ChunkEncoder chunks(input);
    ThreadPool pool(2);
    const CorrectionSearch search{input, chunks, &pool, [] { return absl::OkStatus(); },
                                  is_measured};
    const auto chosen = ChooseCorrection(search, *MatrixToCorrect(input, stream));
    EXPECT_TRUE(chosen.ok()) << chosen.status();
    return *chosen;
  }
  static std::string Encode(const DeltaEncoderInput& input, int threads, WdeltaFile* file) {
    ThreadPool pool(threads);
    std::string bytes;
    const auto written = EncodeDelta(input, &pool, [&](absl::string_view more) {
      bytes.append(more.data(), more.size());
      return absl::OkStatus();
    });
    EXPECT_TRUE(written.ok()) << written.status();
    if (file != nullptr) *file = *written;
    return bytes;
  }
};

// Plus products of rank one, each smaller than the one before, and independent numbers.
TestTensor Decayed(const TestTensor& base, float deviation, float ratio) {
  TestTensor tuned = Noised(base, deviation, 31);
  for (float each = 4 * deviation; each > 0.1f * deviation; each *= ratio) {
    std::vector<float> up = Normal(base.shape[0], 1, 100 + static_cast<uint32_t>(each * 1e7f));
    std::vector<float> down = Normal(base.shape[1], each, static_cast<uint32_t>(each * 1e7f));
    std::vector<float> numbers = Numbers(tuned);
    for (size_t i = 0; i < up.size(); ++i) {
      for (size_t j = 0; j < down.size(); ++j) numbers[i * down.size() + j] += up[i] * down[j];
    }
    tuned.data = Lanes(numbers, base.dtype);
  }
  return tuned;
}

TEST_F(LowRankSearchTest, ShareIsEstimatedAsItIsMeasured) {
  std::vector<TestTensor> base, merged;
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const float deviation : {5e-5f, 6e-4f}) {
      base.push_back(Weights(dtype, 700, 500, static_cast<uint32_t>(base.size())));
      base.back().name = absl::StrCat("w", base.size());
      merged.push_back(Noised(Merged(base.back(), 4, 3 * deviation, dtype), deviation, 5));
    }
  }
  const DeltaEncoderInput input = Input(merged, base);
  for (uint32_t stream = 1; stream <= base.size(); ++stream) {
    const MeasuredCorrection estimated = Choose(input, stream, false);
    const MeasuredCorrection measured = Choose(input, stream, true);
    ASSERT_NE(estimated.correction, nullptr) << stream;
    ASSERT_NE(measured.correction, nullptr) << stream;
    EXPECT_EQ(estimated.correction->correction.form.rank, 4u) << stream;
    EXPECT_NEAR(estimated.share, measured.share, 0.03) << stream;
  }
}

TEST_F(LowRankSearchTest, AMatrixThatIsHeldHasTheFactorsOfOneThatIsRead) {
  const TestTensor base = Weights(DType::kBF16, 500, 1001, 1);
  const TestTensor tuned = Merged(base, 3, 6e-4f, DType::kBF16);
  const DeltaEncoderInput input = Input({tuned}, {base});
  const DeltaMatrix read = *MatrixToCorrect(input, 1);
  ChunkEncoder encoder(input);
  std::vector<ReadChunk> chunks;
  for (const ChunkRef& chunk : ChunksOfStream(1, read.tensor().size_bytes)) {
    chunks.push_back(*encoder.Read(chunk));
  }
  ASSERT_EQ(chunks.size(), 2u);
  DeltaMatrix held = read;
  ASSERT_TRUE(held.Hold(chunks).ok());
  const auto estimate = EstimateRank(read);
  ASSERT_TRUE(estimate.ok()) << estimate.status();
  ThreadPool pool(3);
  ThreadPool here(0);
  const std::function<absl::Status()> advance = [] { return absl::OkStatus(); };
  for (const Effort effort : {Effort::kFast, Effort::kMax}) {
    const FactorSearch search{effort, 0.1};
    const auto of_read = FindFactors(read, *estimate, search, &pool, advance);
    const auto of_held = FindFactors(held, *estimate, search, &here, advance);
    ASSERT_TRUE(of_read.ok() && of_held.ok());
    ASSERT_FALSE(of_read->empty());
    ASSERT_EQ(of_read->size(), of_held->size());
    for (size_t i = 0; i < of_read->size(); ++i) {
      EXPECT_TRUE((*of_read)[i].form == (*of_held)[i].form);
      EXPECT_TRUE((*of_read)[i].factors == (*of_held)[i].factors) << i;
      EXPECT_EQ(ShareEstimate::Of(read)->With((*of_read)[i]),
                ShareEstimate::Of(held)->With((*of_held)[i]));
    }
  }
  const std::vector<ReadChunk> taken = held.TakeChunks();
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_TRUE(taken[1].bytes == chunks[1].bytes && taken[1].parent == chunks[1].parent);
}

TEST_F(LowRankSearchTest, ChunksOfAnotherSizeCannotBeHeld) {
  const TestTensor base = Weights(DType::kBF16, 128, 200, 1);
  const TestTensor tuned = Merged(base, 3, 6e-4f, DType::kBF16);
  const DeltaEncoderInput input = Input({tuned}, {base});
  DeltaMatrix matrix = *MatrixToCorrect(input, 1);
  EXPECT_TRUE(absl::IsInternal(matrix.Hold({})));
  EXPECT_TRUE(absl::IsInternal(matrix.Hold({ReadChunk{base.data, std::nullopt}})));
  EXPECT_TRUE(absl::IsInternal(matrix.Hold({ReadChunk{base.data, "short"}})));
  EXPECT_TRUE(absl::IsInternal(matrix.Hold({ReadChunk{base.data.substr(2), base.data.substr(2)}})));
  EXPECT_TRUE(absl::IsInternal(
      matrix.Hold({ReadChunk{base.data, base.data}, ReadChunk{base.data, base.data}})));
  EXPECT_FALSE(matrix.is_held());
}

// Matrices of one chunk, of two that are held, and of more; all threads, all instruction sets.
TEST_F(LowRankSearchTest, EncodingIsTheSameOnEveryMachine) {
  std::vector<TestTensor> base, merged;
  for (const uint64_t rows : {200, 500, 700}) {
    base.push_back(Weights(DType::kBF16, rows, 1001, static_cast<uint32_t>(rows)));
    base.back().name = absl::StrCat("w", rows);
    merged.push_back(Merged(base.back(), 4, 6e-4f, DType::kBF16));
    base.push_back(Weights(DType::kF32, rows, 300, static_cast<uint32_t>(rows)));
    base.back().name = absl::StrCat("x", rows);
    merged.push_back(Decayed(base.back(), 1e-4f, 0.8f));
  }
  const DeltaEncoderInput input = Input(merged, base);
  WdeltaFile file;
  const std::string bytes = Encode(input, 1, &file);
  for (uint32_t stream = 1; stream <= base.size(); ++stream) {
    EXPECT_TRUE(file.streams[stream].correction.has_value()) << stream;
  }
  EXPECT_TRUE(Encode(input, 3, nullptr) == bytes);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().DeInit();
    EXPECT_TRUE(Encode(input, 2, nullptr) == bytes) << hwy::TargetName(target);
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().DeInit();
}

TEST_F(LowRankSearchTest, EffortFastFindsMostOfASlowDecay) {
  const TestTensor base = Weights(DType::kBF16, 384, 1024, 1);
  const TestTensor tuned = Decayed(base, 2e-4f, 0.85f);
  DeltaEncoderInput input = Input({tuned}, {base});
  const MeasuredCorrection fast = Choose(input, 1, true);
  input.effort = Effort::kMax;
  const MeasuredCorrection max = Choose(input, 1, true);
  ASSERT_NE(fast.correction, nullptr);
  ASSERT_NE(max.correction, nullptr);
  EXPECT_LE(fast.correction->correction.form.rank, 16u);
  EXPECT_LT(fast.share, max.share + 0.02);
  EXPECT_LT(max.share, 0.9);
}

}  // namespace
}  // namespace wdelta::testing

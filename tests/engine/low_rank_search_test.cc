// How corrections are looked for: what is estimated, what is held, and what effort fast leaves out.
#include <cmath>
#include <functional>
#include <optional>

#include "gmock/gmock.h"
#include "hwy/targets.h"
#include "storage/base/limits.h"
#include "storage/base/thread_pool.h"
#include "storage/engine/content/chunk_cache.h"
#include "storage/engine/content/codec_pool.h"
#include "storage/engine/content/wdelta_source.h"
#include "storage/engine/encoding/chunk_encoder.h"
#include "storage/engine/encoding/chunk_input.h"
#include "storage/engine/encoding/delta_encoder.h"
#include "storage/engine/encoding/low_rank/correction_choice.h"
#include "storage/engine/encoding/low_rank/range_finder.h"
#include "storage/engine/encoding/low_rank/rank_estimate.h"
#include "storage/engine/encoding/low_rank/share_estimate.h"
#include "tests/engine/memory_models.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

class LowRankSearchTest : public ::testing::Test {
 protected:
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
  // The stream, of one chunk, comes back bit for bit over the parent that is corrected.
  static void ExpectExact(const DeltaEncoderInput& input, uint32_t stream,
                          const CorrectionPtr& correction) {
    const TensorInfo& tensor = input.target->checkpoint().streams[stream].tensor;
    ChunkEncoder chunks(input);
    const ChunkRef at{stream, 0, tensor.size_bytes};
    const absl::StatusOr<ReadChunk> read = chunks.Read(at);
    ChunkResult result;
    const absl::Status encoded = chunks.Encode(at, correction, nullptr, result);
    ASSERT_TRUE(read.ok() && encoded.ok()) << read.status() << encoded;
    std::string parent = *read->parent;
    std::vector<float> scratch;
    CorrectNumbers(tensor, correction->correction.form, correction->correction.factors, 0, parent,
                   scratch);
    ChunkCodec codec;
    std::string decoded(at.size, '\0');
    const absl::Status status =
        codec.Decode(LaneFormatOf(tensor.dtype), result.encoded.mode, result.encoded.payload,
                     parent, decoded.data(), decoded.size());
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(decoded == read->bytes);
  }
  // All streams of the file come back bit for bit.
  static void ExpectDecodes(const std::string& bytes, const DeltaEncoderInput& input) {
    const auto reader = WdeltaReader::Open(std::make_shared<const StringFile>(bytes));
    ASSERT_TRUE(reader.ok()) << reader.status();
    CodecPool codecs;
    ChunkCache cache(limits::kMiB);
    const auto source = WdeltaSource::Open("encoded", *reader, input.parent, &codecs, &cache);
    ASSERT_TRUE(source.ok()) << source.status();
    const std::vector<StreamInfo>& streams = input.target->checkpoint().streams;
    for (uint32_t i = 0; i < streams.size(); ++i) {
      std::string wanted(streams[i].tensor.size_bytes, '\0');
      std::string found = wanted;
      ASSERT_TRUE(input.target->Read(i, 0, wanted.size(), wanted.data()).ok());
      const absl::Status read = (*source)->Read(i, 0, found.size(), found.data());
      ASSERT_TRUE(read.ok()) << read;
      EXPECT_TRUE(found == wanted) << i;
    }
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
      EXPECT_EQ(ShareEstimate::Of(read, read.tensor())->With((*of_read)[i]),
                ShareEstimate::Of(held, held.tensor())->With((*of_held)[i]));
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

TEST_F(LowRankSearchTest, TheFirstRowsTellTheShareOfAllByTheFactorsOfAll) {
  const TestTensor base = Weights(DType::kBF16, 1500, 600, 1);
  const DeltaEncoderInput input = Input({Merged(base, 4, 6e-4f, DType::kBF16)}, {base});
  const DeltaMatrix matrix = *MatrixToCorrect(input, 1);
  const MeasuredCorrection chosen = Choose(input, 1, false);
  ASSERT_NE(chosen.correction, nullptr);
  ASSERT_LT(chosen.share, 0.8);
  const auto first = ShareEstimate::Of(matrix.FirstRows(500), matrix.tensor());
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_NEAR(ShareEstimate(*first).With(chosen.correction->correction), chosen.share, 0.03);
}

// Products of such numbers are out of the range of floats.
TEST_F(LowRankSearchTest, ALowRankIsSeenAtAnyMagnitude) {
  const TestTensor zeros = {"w", DType::kF32, {300, 256}, std::string(300 * 256 * 4, '\0')};
  const std::vector<float> low = Numbers(Merged(zeros, 4, 1, DType::kF32));
  const std::vector<float> independent = Normal(low.size(), 1, 3);
  std::optional<uint32_t> rank;
  // 1, some 1e25 and 1e-30, so that all else is exactly the same.
  for (const int exponent : {0, 83, -100}) {
    SCOPED_TRACE(exponent);
    for (const bool is_low : {true, false}) {
      std::vector<float> numbers = is_low ? low : independent;
      for (float& number : numbers) number = std::ldexp(number, exponent);
      const TestTensor tuned = {"w", DType::kF32, zeros.shape, Lanes(numbers, DType::kF32)};
      const DeltaEncoderInput input = Input({tuned}, {zeros});
      const DeltaMatrix matrix = *MatrixToCorrect(input, 1);
      const absl::StatusOr<bool> may_have = MayHaveLowRank(matrix);
      ASSERT_TRUE(may_have.ok()) << may_have.status();
      EXPECT_EQ(*may_have, is_low);
      ASSERT_TRUE(IsToldByFirstChunk(matrix));
      EXPECT_EQ(MayHaveLowRank(matrix, tuned.data, zeros.data), is_low);
      if (!is_low) continue;
      if (!rank.has_value()) rank = EstimateRank(matrix)->rank;
      EXPECT_GE(*rank, 4u);
      EXPECT_EQ(EstimateRank(matrix)->rank, *rank);
    }
  }
}

// Some numbers of each tensor are special; what is there to be gained by the others is found.
TEST_F(LowRankSearchTest, SpecialNumbersLeaveNoCorrectionOrAnExactOne) {
  std::vector<TestTensor> base, tuned;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const float special : {NAN, INFINITY, -INFINITY, 1e38f, -3.4e38f, 1e-45f}) {
      for (const size_t step : {1, 997}) {
        TestTensor tensor = Weights(dtype, 128, 192, static_cast<uint32_t>(base.size()));
        tensor.name = absl::StrCat("w", base.size());
        std::vector<float> numbers = Numbers(Merged(tensor, 4, 6e-4f, dtype));
        for (size_t i = 0; i < numbers.size(); i += step) numbers[i] = special;
        base.push_back(tensor);
        tuned.push_back({tensor.name, dtype, tensor.shape, Lanes(numbers, dtype)});
        // The same, of the parent's numbers.
        base.push_back(tuned.back());
        tuned.push_back(tensor);
        base.back().name = tuned.back().name = absl::StrCat("x", base.size());
      }
    }
  }
  // All are of the greatest magnitudes.
  for (const float scale : {1e36f, 1e38f}) {
    base.push_back({absl::StrCat("w", base.size()), DType::kF32, {128, 192}, ""});
    base.back().data = std::string(128 * 192 * 4, '\0');
    tuned.push_back(base.back());
    std::vector<float> numbers = Numbers(Merged(base.back(), 3, 1, DType::kF32));
    for (float& number : numbers) number *= scale;
    tuned.back().data = Lanes(numbers, DType::kF32);
  }
  size_t correction_count = 0;
  for (const Effort effort : {Effort::kFast, Effort::kMax}) {
    DeltaEncoderInput input = Input(tuned, base);
    input.effort = effort;
    for (uint32_t stream = 1; stream <= base.size(); ++stream) {
      SCOPED_TRACE(stream);
      for (const bool is_measured : {false, true}) {
        const MeasuredCorrection chosen = Choose(input, stream, is_measured);
        EXPECT_LE(chosen.share, chosen.correction == nullptr ? 1 : 0.95);
        if (chosen.correction == nullptr) continue;
        ++correction_count;
        ExpectExact(input, stream, chosen.correction);
      }
    }
    WdeltaFile file;
    const std::string bytes = Encode(input, 2, &file);
    ExpectDecodes(bytes, input);
  }
  EXPECT_GT(correction_count, 20u);
}

}  // namespace
}  // namespace wdelta::testing

// SIMD kernels of the lossy modes against their portable twins.
#include <gtest/gtest.h>

#include "storage/codec/kernels/quantise_kernels.h"
#include "tests/codec/lossy_deltas.h"

namespace wdelta::kernels {
namespace {

const uint8_t* Bytes(const std::string& bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

size_t Padded(size_t count) { return (count + kTrellisLanes - 1) / kTrellisLanes * kTrellisLanes; }

Reconstruction RandomReconstruction(std::mt19937_64& random, DType dtype, double scale) {
  Reconstruction reconstruction;
  reconstruction.step = scale * std::exp2(-static_cast<double>(random() % 8));
  if (dtype != DType::kF64) {
    reconstruction.step = static_cast<double>(static_cast<float>(reconstruction.step));
  }
  for (int16_t& reduction : reconstruction.reduction) {
    reduction = static_cast<int16_t>(static_cast<int>(random() % 16384) - 8192);
  }
  return reconstruction;
}

TEST(LossyKernelsTest, TwinsGiveTheSameBytes) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 60; ++round) {
    const DType dtype = kLossyDTypes[random() % 4];
    const size_t count = 1 + random() % 3000;
    const double relative = std::exp2(-static_cast<double>(random() % 12));
    const Pair pair = MakePair(random, dtype, count, relative, round % 2 == 0 ? 0.5 : 0);
    const Reconstruction reconstruction = RandomReconstruction(random, dtype, 0.02 * relative);
    const RateModel rate{0.1, 0.01, 0.2};
    SCOPED_TRACE(testing::Message() << DTypeName(dtype) << ", " << count << " weights");

    TrellisScratch scratch;
    std::vector<uint8_t> symbols(Padded(count)), twin_symbols(Padded(count));
    QuantiseTrellis(dtype, reconstruction, rate, Bytes(pair.target), Bytes(pair.parent), count,
                    scratch, symbols.data());
    portable::QuantiseTrellis(dtype, reconstruction, rate, Bytes(pair.target), Bytes(pair.parent),
                              count, scratch, twin_symbols.data());
    ASSERT_EQ(symbols, twin_symbols);

    // Symbols that the search would not choose, too.
    if (round % 3 == 0) {
      for (size_t i = 0; i < count; ++i) symbols[i] = static_cast<uint8_t>(random());
    }
    std::vector<uint8_t> magnitudes(Padded(count)), twin_magnitudes(Padded(count));
    Magnitudes(symbols.data(), count, magnitudes.data());
    portable::Magnitudes(symbols.data(), count, twin_magnitudes.data());
    magnitudes.resize(count);
    twin_magnitudes.resize(count);
    ASSERT_EQ(magnitudes, twin_magnitudes);

    std::vector<uint8_t> output(pair.target.size()), twin_output(pair.target.size());
    Reconstruct(dtype, reconstruction, symbols.data(), magnitudes.data(), Bytes(pair.parent), count,
                output.data());
    portable::Reconstruct(dtype, reconstruction, symbols.data(), magnitudes.data(),
                          Bytes(pair.parent), 0, count, twin_output.data());
    ASSERT_EQ(output, twin_output);
  }
}

TEST(LossyKernelsTest, SymbolsAreSortedByClassAndBack) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 60; ++round) {
    const DType dtype = kLossyDTypes[random() % 4];
    const size_t count = 1 + random() % 2000;
    const Pair pair = MakePair(random, dtype, count, 1);
    std::vector<uint8_t> classes(Padded(count)), twin_classes(Padded(count));
    const int exponent = -20 + static_cast<int>(random() % 16);
    const size_t cut = random() % (count + 1);
    for (const auto& [first, end] : {std::pair{size_t{0}, cut}, std::pair{cut, count}}) {
      const auto base = static_cast<uint8_t>(first == 0 ? 3 : 0);
      ExponentClasses(dtype, exponent, base, Bytes(pair.parent), first, end, classes.data());
      portable::ExponentClasses(dtype, exponent, base, Bytes(pair.parent), first, end,
                                twin_classes.data());
    }
    ASSERT_EQ(classes, twin_classes);

    std::vector<uint8_t> symbols(Padded(count));
    for (size_t i = 0; i < count; ++i) symbols[i] = static_cast<uint8_t>(random());
    std::array<size_t, kQuantisedClasses> counts{};
    for (size_t i = 0; i < count; ++i) ++counts[classes[i]];
    std::vector<uint8_t> present;
    ClassCursor starts{};
    size_t at = 0;
    for (int c = 0; c < kQuantisedClasses; ++c) {
      starts[c] = at;
      at += counts[c];
      if (counts[c] != 0) present.push_back(static_cast<uint8_t>(c));
    }
    std::vector<uint8_t> sorted(count + kTrellisLanes), twin_sorted(count + kTrellisLanes);
    ClassCursor cursor = starts;
    PartitionSymbols(classes.data(), present, symbols.data(), count, cursor, sorted.data());
    ClassCursor twin_cursor = starts;
    portable::PartitionSymbols(classes.data(), symbols.data(), 0, count, twin_cursor,
                               twin_sorted.data());
    ASSERT_EQ(sorted, twin_sorted);
    ASSERT_EQ(cursor, twin_cursor);

    std::vector<uint8_t> merged(Padded(count)), twin_merged(Padded(count));
    cursor = twin_cursor = starts;
    MergeSymbols(classes.data(), present, sorted.data(), count, cursor, merged.data());
    portable::MergeSymbols(classes.data(), sorted.data(), 0, count, twin_cursor,
                           twin_merged.data());
    ASSERT_EQ(merged, symbols);
    ASSERT_EQ(twin_merged, symbols);
  }
}

TEST(RealLanesTest, EveryF16RoundsToItself) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto lane = static_cast<uint16_t>(bits);
    if ((lane & 0x7fff) > 0x7c00) continue;  // NaNs
    ASSERT_EQ(F16Lanes::FromReal(F16Lanes::ToReal(lane)), lane);
  }
  EXPECT_EQ(F16Lanes::ToReal(0x3c00), 1.0f);
  EXPECT_EQ(F16Lanes::ToReal(0x0001), 0x1p-24f);
  EXPECT_EQ(F16Lanes::ToReal(0xfbff), -65504.0f);
}

// Halfway between neighbours the even one is taken.
TEST(RealLanesTest, RoundsToNearestEven) {
  for (uint16_t lane = 0; lane < 0x7bff; ++lane) {
    const float low = F16Lanes::ToReal(lane);
    const float high = F16Lanes::ToReal(static_cast<uint16_t>(lane + 1));
    const float middle = (low + high) / 2;
    ASSERT_EQ(F16Lanes::FromReal(middle), lane % 2 == 0 ? lane : lane + 1);
    ASSERT_EQ(F16Lanes::FromReal(std::nextafterf(middle, low)), lane);
    ASSERT_EQ(F16Lanes::FromReal(std::nextafterf(middle, high)), lane + 1);
  }
  EXPECT_EQ(F16Lanes::FromReal(65519.0f), 0x7bff);
  EXPECT_EQ(F16Lanes::FromReal(65520.0f), 0x7c00);
  EXPECT_EQ(BF16Lanes::FromReal(BitsAs<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(BF16Lanes::FromReal(BitsAs<float>(0x3f818000u)), 0x3f82);
}

}  // namespace
}  // namespace wdelta::kernels

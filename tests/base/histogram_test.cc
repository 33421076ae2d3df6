#include "storage/base/histogram.h"

#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace wdelta {
namespace {

using ::testing::ElementsAre;

TEST(HistogramTest, ABoundIsTheLastValueOfItsBucket) {
  Histogram histogram({1, 2.5});
  for (const double value : {0.0, 1.0, 1.5, 2.5, 2.6, 1000.0}) histogram.Add(value);
  const HistogramCounts counts = histogram.Counts();
  EXPECT_THAT(counts.counts, ElementsAre(2u, 2u, 2u));
  EXPECT_EQ(counts.total, 6u);
  EXPECT_DOUBLE_EQ(counts.sum, 1007.6);
}

TEST(HistogramTest, KeepsKeysApartAndLosesNothingBetweenThreads) {
  HistogramsBy<int> histograms({1});
  std::vector<std::thread> threads;
  for (int key = 0; key < 4; ++key) {
    threads.emplace_back([&histograms, key] {
      for (int i = 0; i < 1000; ++i) histograms.Add(key % 2, i % 4);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const auto counts = histograms.Counts();
  ASSERT_EQ(counts.size(), 2u);
  for (const auto& [key, of_key] : counts) {
    EXPECT_THAT(of_key.counts, ElementsAre(1000u, 1000u)) << key;
    EXPECT_DOUBLE_EQ(of_key.sum, 3000) << key;
  }
}

}  // namespace
}  // namespace wdelta

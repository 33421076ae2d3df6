// Runs of symbols come back as they were, and damaged bytes are refused.
#include "storage/codec/entropy/run_coder.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "storage/codec/kernels/rans_kernels.h"
#include "storage/codec/reference/reference_runs.h"

namespace wdelta {
namespace {

using Runs = std::vector<std::vector<uint8_t>>;

std::string Encode(const Runs& runs, RunLanes most = RunLanes::kUpTo32) {
  std::vector<SymbolRun> spans;
  for (const auto& run : runs) spans.push_back({run.data(), run.size()});
  std::string out;
  RunEncoder().Append(spans, out, most);
  return out;
}

absl::StatusOr<Runs> Decode(absl::string_view bytes, const Runs& like,
                            RunLanes most = RunLanes::kUpTo32) {
  std::vector<size_t> counts;
  size_t total = 0;
  for (const auto& run : like) {
    counts.push_back(run.size());
    total += run.size();
  }
  std::vector<uint8_t> symbols(total + RunDecoder::kOverrunBytes);
  ByteReader reader(bytes);
  const absl::Status status = RunDecoder().Read(reader, counts, symbols.data(), most);
  if (!status.ok()) return status;
  if (reader.remaining() != 0) return absl::DataLossError("bytes are left");
  Runs runs;
  size_t at = 0;
  for (const size_t count : counts) {
    runs.emplace_back(symbols.begin() + at, symbols.begin() + at + count);
    at += count;
  }
  return runs;
}

std::vector<uint8_t> Bell(std::mt19937& random, size_t count, double sigma) {
  std::normal_distribution<double> values(127.0, sigma);
  std::vector<uint8_t> run(count);
  for (uint8_t& symbol : run) {
    symbol = static_cast<uint8_t>(std::clamp(std::round(values(random)), 0.0, 255.0));
  }
  return run;
}

TEST(RunCoder, RandomRunsComeBack) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    Runs runs(random() % 20);
    for (auto& run : runs) {
      const size_t count = std::vector<size_t>{0, 1, 2, 33, 500, 9000}[random() % 6];
      run = Bell(random, count, std::vector<double>{0.0, 0.1, 2, 20, 90}[random() % 5]);
    }
    const auto decoded = Decode(Encode(runs), runs);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    ASSERT_EQ(*decoded, runs);
  }
}

TEST(RunCoder, ManySymbolsTakeAsManyLanesAsTheModeKnows) {
  std::mt19937 random(2);
  for (const size_t count : {65'536, 70'001, 131'100}) {
    const Runs runs = {Bell(random, 77, 3), Bell(random, count, 9), Bell(random, 1000, 20)};
    const std::string wide = Encode(runs, RunLanes::kUpTo64);
    EXPECT_EQ(wide[0], 3);
    EXPECT_EQ(Encode(runs)[0], 2);
    const auto decoded = Decode(wide, runs, RunLanes::kUpTo64);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, runs);
    EXPECT_EQ(Decode(wide, runs).status().code(), absl::StatusCode::kDataLoss);
    absl::string_view rest = wide;
    const auto reference = reference::TakeRuns(rest, {77, count, 1000}, 64);
    ASSERT_TRUE(reference.ok()) << reference.status();
    EXPECT_EQ(*reference, runs);
  }
}

TEST(RunCoder, EverySymbolAndExtremeFrequencies) {
  std::vector<uint8_t> rare(100'000, 7);
  rare[500] = 255;
  rare[99'999] = 0;
  std::vector<uint8_t> all;
  for (int i = 0; i < 50'000; ++i) all.push_back(static_cast<uint8_t>(i));
  const Runs runs = {rare, all, {}, std::vector<uint8_t>(5000, 9), rare};
  const std::string bytes = Encode(runs);
  EXPECT_EQ(*Decode(bytes, runs), runs);
}

TEST(RunCoder, IsCloseToTheEntropy) {
  std::mt19937 random(1);
  const Runs runs = {Bell(random, 100'000, 12), Bell(random, 30'000, 12.3)};
  double entropy_bits = 0;
  for (const auto& run : runs) {
    std::array<double, 256> counts{};
    for (const uint8_t symbol : run) ++counts[symbol];
    for (const double n : counts) {
      if (n > 0) entropy_bits += n * std::log2(static_cast<double>(run.size()) / n);
    }
  }
  EXPECT_LT(8.0 * static_cast<double>(Encode(runs).size()), 1.006 * entropy_bits);
}

TEST(RunCoder, DamagedBytesNeverPassUnseenOrReadBeyond) {
  std::mt19937 random(3);
  const Runs runs = {Bell(random, 6000, 5), Bell(random, 100, 60)};
  const std::string good = Encode(runs);
  for (size_t size = 0; size < good.size(); size += 1 + size / 50) {
    EXPECT_FALSE(Decode(good.substr(0, size), runs).ok()) << "cut at " << size;
  }
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = good;
    bytes[random() % bytes.size()] ^= static_cast<char>(1 << (random() % 8));
    const auto decoded = Decode(bytes, runs);
    if (decoded.ok()) {
      EXPECT_EQ(decoded->size(), runs.size());
    }
  }
}

TEST(RansKernels, PortableAndSimdEncodeAlike) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 50; ++round) {
    SymbolCounts counts{};
    for (int s = 0; s < 256; s += 1 + random() % 50) counts[s] = 1 + random() % 100'000;
    counts[random() % 256] = 1 + random() % 10'000'000;
    counts[255] += 1;
    kernels::SymbolTable table{};
    kernels::BuildSymbols(BuildTable(counts), table);
    std::vector<uint8_t> symbols(random() % 3000);
    for (uint8_t& symbol : symbols) {
      do symbol = static_cast<uint8_t>(random());
      while (counts[symbol] == 0);
    }
    const size_t lanes = round % 2 == 0 ? kernels::kRansLanes : kernels::kMostRansLanes;
    std::array<uint32_t, kernels::kMostRansLanes> states;
    for (uint32_t& state : states) state = kernels::kRansLowest + random() % 0xfffe0000;
    auto other_states = states;
    std::vector<uint8_t> words(2 * symbols.size() + 2), others(words.size());
    const uint8_t* begin = kernels::EncodeRans(table, symbols.data(), symbols.size(), states.data(),
                                               lanes, words.data() + words.size());
    const uint8_t* other_begin =
        kernels::portable::EncodeRans(table, symbols.data(), symbols.size(), other_states.data(),
                                      lanes, others.data() + others.size());
    ASSERT_EQ(begin - words.data(), other_begin - others.data());
    ASSERT_TRUE(std::equal(begin, begin + (words.data() + words.size() - begin), other_begin));
    ASSERT_EQ(states, other_states);
  }
}

TEST(RansKernels, PortableAndSimdAgree) {
  std::mt19937 random(4);
  SymbolCounts counts{};
  for (int s = 100; s < 150; ++s) counts[s] = 1 + random() % 1000;
  kernels::SlotTable slots;
  kernels::BuildSlots(BuildTable(counts), slots);
  std::string words(40'000, '\0');
  for (char& c : words) c = static_cast<char>(random());
  const auto* bytes = reinterpret_cast<const uint8_t*>(words.data());
  for (size_t count : {0, 31, 32, 64, 1000, 1001, 12'345, 12'346, 40'000, 40'001}) {
    const size_t lanes = count % 2 == 0 ? kernels::kRansLanes : kernels::kMostRansLanes;
    std::array<uint32_t, kernels::kMostRansLanes> states;
    for (uint32_t& state : states) state = kernels::kRansLowest + random() / 2;
    auto other_states = states;
    kernels::RansInput input{bytes, bytes + words.size()};
    kernels::RansInput other_input = input;
    std::vector<uint8_t> symbols(count + 64);
    std::vector<uint8_t> others(count + 64);
    const bool ok = kernels::DecodeRans(slots, states.data(), lanes, input, symbols.data(), count);
    ASSERT_EQ(ok, kernels::portable::DecodeRans(slots, other_states.data(), lanes, other_input,
                                                others.data(), count));
    if (!ok) continue;
    EXPECT_TRUE(std::equal(symbols.begin(), symbols.begin() + count, others.begin()));
    EXPECT_EQ(states, other_states);
    EXPECT_EQ(input.next, other_input.next);
  }
}

}  // namespace
}  // namespace wdelta

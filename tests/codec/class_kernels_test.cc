// The class kernels on the best instruction set give what their portable twins give.
#include "storage/codec/kernels/class_kernels.h"
#include "storage/codec/kernels/value_kernels.h"

#include <algorithm>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace wdelta::kernels {
namespace {

struct Case {
  LaneFormat format;
  ClassMap map;
  bool has_offsets = false;
};

// As many classes as the map has, over all levels.
Case ByLevel(Case c) {
  c.has_offsets = true;
  c.map.first = 9;
  for (int level = 0; level < kLevels; ++level) {
    c.map.class_of_level[level] = static_cast<uint8_t>(level * c.map.count / kLevels);
  }
  return c;
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const LaneFormat format :
       {LaneFormat{1, true, 3}, LaneFormat{2, true, 7}, LaneFormat{2, true, 10},
        LaneFormat{2, false, 0}, LaneFormat{4, true, 23}, LaneFormat{8, true, 52}}) {
    for (const int zero_bits : {0, 3}) {
      for (const int count : {1, 2, 13, kMaxClasses}) {
        for (const int direct_count : {0, 1}) {
          const int shift = std::max(zero_bits, format.mantissa_bits);
          cases.push_back({format, {zero_bits, shift, 3, count, direct_count}});
          cases.push_back(ByLevel(cases.back()));
        }
      }
    }
  }
  return cases;
}

// Lanes near each other's, with the map's low bits zero.
std::string RandomLanes(std::mt19937& random, const Case& c, size_t lanes) {
  std::string bytes(lanes * c.format.lane_bytes, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  for (size_t i = 0; i < lanes; ++i) {
    char& low = bytes[i * c.format.lane_bytes];
    low = static_cast<char>(low & (0xff << c.map.zero_bits));
  }
  return bytes;
}

const uint8_t* Bytes(const std::string& bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

// Every class is given room for all lanes.
ClassStarts RoomyStarts(size_t lanes) {
  ClassStarts starts{};
  for (size_t c = 0; c < starts.size(); ++c) starts[c] = c * (lanes + kValueSlack);
  return starts;
}

TEST(ClassKernels, OffsetsAreThoseOfTheirTwin) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    const size_t lanes = 1 + random() % 1000;
    const size_t row_lanes = 1 + random() % (round % 2 == 0 ? 10 : lanes);
    const RowGeometry geometry{row_lanes, 1 + random() % row_lanes};
    std::vector<uint8_t> rows(geometry.Rows(lanes)), columns(row_lanes + kValueSlack);
    for (uint8_t& row : rows) row = static_cast<uint8_t>(random());
    for (uint8_t& column : columns) column = static_cast<uint8_t>(random());
    std::vector<uint8_t> offsets(lanes + kValueSlack), others(lanes);
    FillOffsets(geometry, rows.data(), columns.data(), lanes, offsets.data());
    portable::FillOffsets(geometry, rows.data(), columns.data(), lanes, others.data());
    ASSERT_TRUE(std::equal(others.begin(), others.end(), offsets.begin()))
        << lanes << " lanes in rows of " << row_lanes;
  }
}

TEST(ClassKernels, SplitAndMergeAreInverseAndEqualToTheirTwins) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (Case c : Cases()) {
    for (const size_t lanes : {1, 7, 64, 1000}) {
      std::vector<uint8_t> offsets(lanes);
      for (uint8_t& offset : offsets) offset = static_cast<uint8_t>(random() % 31);
      if (c.has_offsets) c.map.offsets = offsets.data();
      const std::string target = RandomLanes(random, c, lanes);
      const std::string parent = RandomLanes(random, c, lanes);
      const bool alone = c.map.count == 1 && c.map.direct_count == 1 && !c.has_offsets;
      const uint8_t* parent_lanes = alone ? nullptr : Bytes(parent);
      const ClassStarts starts = RoomyStarts(lanes);
      const size_t room = kMaxClasses * (lanes + kValueSlack) + 2 * (lanes + kValueSlack);
      std::vector<uint64_t> values(room);
      std::vector<uint64_t> others(room);
      SplitClasses(c.format, c.map, Bytes(target), parent_lanes, lanes, starts, values.data());
      ClassStarts ends = starts;
      portable::SplitClasses(c.format, c.map, Bytes(target), parent_lanes, lanes, ends,
                             others.data());
      std::array<size_t, kMaxClasses> counts{};
      CountClasses(c.format, c.map, Bytes(parent), lanes, counts.data());
      for (int k = 0; k < c.map.count && !alone; ++k) ASSERT_EQ(counts[k], ends[k] - starts[k]);
      for (int k = 0; k < c.map.count; ++k) {
        const size_t at = starts[k] * c.format.lane_bytes;
        const size_t size = (ends[k] - starts[k]) * c.format.lane_bytes;
        ASSERT_EQ(std::memcmp(reinterpret_cast<char*>(values.data()) + at,
                              reinterpret_cast<char*>(others.data()) + at, size),
                  0)
            << "lane bytes " << c.format.lane_bytes << " classes " << c.map.count;
      }
      std::string merged(target.size(), '\0');
      ClassStarts merged_ends = starts;
      MergeClasses(c.format, c.map, parent_lanes, lanes, merged_ends, others.data(),
                   reinterpret_cast<uint8_t*>(merged.data()));
      ASSERT_EQ(merged, target) << "lane bytes " << c.format.lane_bytes;
      ASSERT_TRUE(std::equal(ends.begin(), ends.begin() + c.map.count, merged_ends.begin()));
    }
  }
}

TEST(ClassKernels, ValuesTakenApartComeTogether) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const int lane_bytes : {2, 4, 8}) {
    const LaneFormat format{lane_bytes, true, 7};
    for (int low_bits = 0; low_bits < 8 * lane_bytes; low_bits += 1 + low_bits / 9) {
      for (const bool is_signed : {false, true}) {
        const size_t count = random() % 500;
        const ValueFormat values_format{low_bits, is_signed,
                                        is_signed ? static_cast<uint64_t>(-127) : 5, 254};
        std::vector<uint64_t> words(count * lane_bytes / 8 + kValueSlack);
        // Small and large values, so that some escape.
        auto* bytes = reinterpret_cast<uint8_t*>(words.data());
        for (size_t i = 0; i < count; ++i) {
          const uint64_t value =
              static_cast<uint64_t>(static_cast<int64_t>(random()) >> (random() % 64));
          std::memcpy(bytes + i * lane_bytes, &value, lane_bytes);
        }
        std::vector<uint8_t> symbols(count + kValueSlack), other_symbols(count + kValueSlack);
        std::vector<uint8_t> raw(RawBytes(low_bits, count) + kValueSlack), other_raw(raw.size());
        std::vector<uint64_t> escapes, other_escapes;
        TakeApart(format, values_format, words.data(), count, symbols.data(), raw.data(), escapes);
        portable::TakeApart(format, values_format, words.data(), 0, count, other_symbols.data(),
                            other_raw.data(), other_escapes);
        ASSERT_TRUE(std::equal(symbols.begin(), symbols.begin() + count, other_symbols.begin()));
        ASSERT_TRUE(std::equal(raw.begin(), raw.end() - kValueSlack, other_raw.begin()));
        ASSERT_EQ(escapes, other_escapes) << lane_bytes << " " << low_bits << " " << is_signed;
        std::vector<uint64_t> back(words.size() + kValueSlack);
        PutTogether(format, values_format, symbols.data(), raw.data(), count, back.data());
        for (size_t i = 0; i < count; ++i) {
          if (symbols[i] == kEscape) continue;
          ASSERT_EQ(std::memcmp(reinterpret_cast<uint8_t*>(back.data()) + i * lane_bytes,
                                bytes + i * lane_bytes, lane_bytes),
                    0)
              << lane_bytes << " " << low_bits << " " << is_signed << " " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace wdelta::kernels

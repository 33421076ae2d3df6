// Records that are not what they should be are refused, or served as they are: nothing that
// reads them ends the daemon. tests/fuzz/format_fuzz.cc does the same for longer.
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/fuzz/stored_records.h"
#include "tests/support/test_seed.h"

namespace wdelta::testing {
namespace {

TEST(DamagedRecords, SoundOnesAndNone) {
  ReadStore(SoundValues());
  ReadStore({});
  const std::vector<StoredValue> again = SplitValues(JoinValues(SoundValues()));
  ASSERT_EQ(again.size(), SoundValues().size());
  for (size_t i = 0; i < again.size(); ++i) {
    EXPECT_EQ(again[i].record, SoundValues()[i].record);
    EXPECT_EQ(again[i].value, SoundValues()[i].value);
  }
}

TEST(DamagedRecords, EachEmptyOrMissing) {
  for (size_t i = 0; i < SoundValues().size(); ++i) {
    std::vector<StoredValue> values = SoundValues();
    values[i].value.clear();
    ReadStore(values);
    values.erase(values.begin() + static_cast<std::ptrdiff_t>(i));
    ReadStore(values);
  }
}

TEST(DamagedRecords, RandomChanges) {
  const uint32_t seed = TestSeed();
  SCOPED_TRACE(SeedTrace(seed));
  std::mt19937 random(seed);
  for (int run = 0; run < 1500; ++run) {
    std::vector<StoredValue> values = SoundValues();
    for (uint32_t changes = 1 + random() % 3; changes > 0; --changes) {
      std::string& value = values[random() % values.size()].value;
      if (value.empty()) continue;
      const size_t at = random() % value.size();
      switch (random() % 4) {
        case 0:
          value[at] = static_cast<char>(random());
          break;
        case 1:
          value.erase(at, 1 + random() % 8);
          break;
        case 2:
          value.insert(at, 1 + random() % 4, static_cast<char>(random()));
          break;
        default:
          value[at] = static_cast<char>(value[at] ^ (1 << random() % 8));
      }
    }
    ReadStore(values);
  }
}

}  // namespace
}  // namespace wdelta::testing

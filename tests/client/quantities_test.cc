#include "client/cli/quantities.h"

#include <limits>
#include <string>

#include "gtest/gtest.h"

namespace wdelta {
namespace {

TEST(Quantities, ByteSizes) {
  EXPECT_EQ(*ParseByteSize("0"), 0u);
  EXPECT_EQ(*ParseByteSize("1000"), 1000u);
  EXPECT_EQ(*ParseByteSize("12B"), 12u);
  EXPECT_EQ(*ParseByteSize("64KiB"), 65536u);
  EXPECT_EQ(*ParseByteSize("1.5GiB"), 1'610'612'736u);
  EXPECT_EQ(*ParseByteSize("20GB"), 20'000'000'000u);
  EXPECT_EQ(*ParseByteSize("2 MB"), 2'000'000u);
  EXPECT_EQ(*ParseByteSize("18446744073709551615"), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(*ParseByteSize("8EiB"), uint64_t{1} << 63);
  EXPECT_EQ(*ParseByteSize("15.5EiB"), 31 * (uint64_t{1} << 59));
  EXPECT_EQ(*ParseByteSize("9.5EB"), 9'500'000'000'000'000'000u);
  EXPECT_EQ(*ParseByteSize("18014398509481983KiB"), ~uint64_t{0} - 1023) << "not through a double";
  EXPECT_EQ(*ParseByteSize("0.0000001EiB"), 115'292'150'461u);
  for (const char* large : {"16EiB", "16.0EiB", "20EB", "18446744073709551616",
                            "18014398509481984KiB", "18446744073709551615.5", "1e30EiB"}) {
    const absl::StatusOr<uint64_t> size = ParseByteSize(large);
    EXPECT_FALSE(size.ok()) << large << ": " << *size;
    EXPECT_NE(size.status().message().find("16EiB"), std::string::npos) << size.status();
  }
  for (const char* bad : {"", "GiB", "-1", "1e400", "nan", "ten", "20000PB", "1 KiBB"}) {
    EXPECT_FALSE(ParseByteSize(bad).ok()) << bad;
  }
}

TEST(Quantities, Times) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const absl::Time now = absl::FromCivil(absl::CivilSecond(2026, 3, 1, 12, 0, 0), utc);
  const auto parse = [&](absl::string_view text) {
    const absl::StatusOr<absl::Time> time = ParseTime(text, now, utc);
    return time.ok() ? absl::FormatTime("%Y-%m-%d %H:%M:%E*S", *time, utc) : "error";
  };
  EXPECT_EQ(parse("2026-01-31"), "2026-01-31 00:00:00");
  EXPECT_EQ(parse("2026-01-31T12:30"), "2026-01-31 12:30:00");
  EXPECT_EQ(parse("2026-01-31T12:30:05.25"), "2026-01-31 12:30:05.25");
  EXPECT_EQ(parse("2026-01-31T12:30:00Z"), "2026-01-31 12:30:00");
  EXPECT_EQ(parse("2026-01-31T12:30:00+02:00"), "2026-01-31 10:30:00");
  EXPECT_EQ(parse("90s"), "2026-03-01 11:58:30");
  EXPECT_EQ(parse("30m"), "2026-03-01 11:30:00");
  EXPECT_EQ(parse("12h"), "2026-03-01 00:00:00");
  EXPECT_EQ(parse("7d"), "2026-02-22 12:00:00");
  for (const char* bad : {"", "d", "-1d", "yesterday", "2026-13-01", "7w"}) {
    EXPECT_EQ(parse(bad), "error") << bad;
  }
}

}  // namespace
}  // namespace wdelta

// The SIMD kernels on every instruction set of this CPU against the portable twin.
#include "storage/codec/kernels/lane_kernels.h"

#include <gtest/gtest.h>

#include <random>

#include "hwy/targets.h"
#include "tests/codec/test_lanes.h"

namespace wdelta {
namespace {

using kernels::ConstPlanes;
using kernels::kMaxLaneBytes;
using kernels::Planes;

constexpr uint8_t kCanary = 0xa5;

// All planes of `lanes` lanes, each with a canary behind it.
class PlaneBuffer {
 public:
  PlaneBuffer(LaneFormat format, size_t lanes) : lane_bytes_(format.lane_bytes), lanes_(lanes) {
    for (int p = 0; p < lane_bytes_; ++p) bytes_[p].assign(lanes + 1, kCanary);
  }
  Planes planes() {
    Planes planes{};
    for (int p = 0; p < lane_bytes_; ++p) planes[p] = bytes_[p].data();
    return planes;
  }
  ConstPlanes const_planes() const {
    ConstPlanes planes{};
    for (int p = 0; p < lane_bytes_; ++p) planes[p] = bytes_[p].data();
    return planes;
  }
  bool CanariesAlive() const {
    for (int p = 0; p < lane_bytes_; ++p) {
      if (bytes_[p][lanes_] != kCanary) return false;
    }
    return true;
  }
  friend bool operator==(const PlaneBuffer& a, const PlaneBuffer& b) {
    return a.bytes_ == b.bytes_;
  }

 private:
  int lane_bytes_;
  size_t lanes_;
  std::array<std::vector<uint8_t>, kMaxLaneBytes> bytes_;
};

const uint8_t* Bytes(const std::string& bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}
uint8_t* Bytes(std::string& bytes) { return reinterpret_cast<uint8_t*>(bytes.data()); }

// Every kernel against its twin, on sources that start `shift` bytes off alignment.
void CheckTwins(LaneFormat format, size_t lanes, size_t shift, std::mt19937_64& random) {
  const size_t size = lanes * format.lane_bytes;
  const std::string parent = EdgeBytes(random, size + shift);
  const std::string target =
      random() % 2 == 0 ? RandomBytes(random, size + shift) : EdgeBytes(random, size + shift);
  const uint8_t* t = Bytes(target) + shift;
  const uint8_t* p = Bytes(parent) + shift;

  PlaneBuffer delta(format, lanes), delta_twin(format, lanes);
  kernels::SplitDelta(format, t, p, lanes, delta.planes());
  kernels::portable::SplitDelta(format, t, p, lanes, delta_twin.planes());
  ASSERT_TRUE(delta == delta_twin && delta.CanariesAlive());

  PlaneBuffer own(format, lanes), own_twin(format, lanes);
  kernels::SplitLanes(format, t, lanes, own.planes());
  kernels::portable::SplitLanes(format, t, lanes, own_twin.planes());
  ASSERT_TRUE(own == own_twin && own.CanariesAlive());

  const std::string expected = target.substr(shift) + static_cast<char>(kCanary);
  const std::string blank(size, '\0');
  std::string out = blank + static_cast<char>(kCanary);
  kernels::MergeDelta(format, delta.const_planes(), p, lanes, Bytes(out));
  ASSERT_EQ(out, expected);
  out = blank + static_cast<char>(kCanary);
  kernels::portable::MergeDelta(format, delta.const_planes(), p, lanes, Bytes(out));
  ASSERT_EQ(out, expected);
  out = blank + static_cast<char>(kCanary);
  kernels::MergeLanes(format, own.const_planes(), lanes, Bytes(out));
  ASSERT_EQ(out, expected);
  out = blank + static_cast<char>(kCanary);
  kernels::portable::MergeLanes(format, own.const_planes(), lanes, Bytes(out));
  ASSERT_EQ(out, expected);
}

class KernelsTest : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().DeInit();
  }
};

TEST_P(KernelsTest, EqualThePortableTwin) {
  hwy::GetChosenTarget().DeInit();
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const LaneFormat format : AllLaneFormats()) {
    for (const size_t lanes :
         {0, 1, 7, 15, 16, 17, 63, 64, 65, 127, 128, 1000, 1024, 4096, 4097, 8192, 8200, 20001}) {
      SCOPED_TRACE(testing::Message() << "lane bytes " << format.lane_bytes << ", lanes " << lanes);
      CheckTwins(format, lanes, random() % 9, random);
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EveryTarget, KernelsTest,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& test) -> std::string {
                           return hwy::TargetName(test.param);
                         });

// All 65536 BF16 patterns against a parent of each kind of value: the difference is
// a bijection on bits, not on numbers.
TEST(PortableKernelsTest, EveryBf16PatternSurvives) {
  const LaneFormat format{2, true};
  constexpr size_t kLanes = 65536;
  std::string target(2 * kLanes, '\0');
  for (size_t i = 0; i < kLanes; ++i) {
    target[2 * i] = static_cast<char>(i & 0xff);
    target[2 * i + 1] = static_cast<char>(i >> 8);
  }
  for (const uint16_t base : {0x0000, 0x8000, 0x7f80, 0xff80, 0x7fc1, 0xffff, 0x0001, 0x3f80}) {
    std::string parent(2 * kLanes, '\0');
    for (size_t i = 0; i < kLanes; ++i) std::memcpy(parent.data() + 2 * i, &base, 2);
    PlaneBuffer planes(format, kLanes);
    kernels::portable::SplitDelta(format, Bytes(target), Bytes(parent), kLanes, planes.planes());
    std::string out(2 * kLanes, '\0');
    kernels::portable::MergeDelta(format, planes.const_planes(), Bytes(parent), kLanes, Bytes(out));
    EXPECT_EQ(out, target) << "parent " << base;
  }
}

TEST(PortableKernelsTest, NeighboursAcrossZeroAreNear) {
  // -0.0 lies one step below +0.0: zigzag(-1) = 1.
  const std::string target("\x00\x80", 2), parent("\x00\x00", 2);
  PlaneBuffer planes({2, true}, 1);
  kernels::portable::SplitDelta({2, true}, Bytes(target), Bytes(parent), 1, planes.planes());
  EXPECT_EQ(planes.planes()[0][0], 1);
  EXPECT_EQ(planes.planes()[1][0], 0);
}

TEST(PortableKernelsTest, Bf16ExponentHasItsOwnPlane) {
  // -1.5: sign 1, exponent 127, mantissa 0x40.
  const std::string target("\xc0\xbf", 2);
  PlaneBuffer planes({2, true}, 1);
  kernels::portable::SplitLanes({2, true}, Bytes(target), 1, planes.planes());
  EXPECT_EQ(planes.planes()[1][0], 127);
  EXPECT_EQ(planes.planes()[0][0], 0x81);
}

}  // namespace
}  // namespace wdelta

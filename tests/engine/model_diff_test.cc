#include "storage/engine/compare/model_diff.h"

#include <cfloat>
#include <cmath>
#include <cstring>
#include <random>

#include "storage/tensor/element_values.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"

namespace wdelta::testing {
namespace {

constexpr DType kMeasured[] = {
    DType::kBool, DType::kU8,  DType::kI8,     DType::kU16,    DType::kI16,        DType::kU32,
    DType::kI32,  DType::kU64, DType::kI64,    DType::kF16,    DType::kBF16,       DType::kF32,
    DType::kF64,  DType::kC64, DType::kF8E4M3, DType::kF8E5M2, DType::kF8E4M3FNUZ, DType::kF8E8M0};

class ModelDiffTest : public EngineTest {
 protected:
  std::map<std::string, TensorDiff> Diff(const std::string& a, const std::string& b) {
    DiffInput input{*Open(a), *Open(b), [] { return absl::OkStatus(); }};
    ThreadPool pool(2);
    std::map<std::string, TensorDiff> diffs;
    const absl::Status status = DiffTensors(input, &pool, [&](const TensorDiff& diff) {
      EXPECT_TRUE(diffs.empty() || diffs.rbegin()->first < diff.name);
      diffs.emplace(diff.name, diff);
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
    return diffs;
  }
};

std::string RandomBytes(size_t size, std::mt19937& random) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// In 64 bits of mantissa, which hold every integer.
std::vector<long double> ExactNumbers(DType dtype, const std::string& bytes) {
  std::vector<long double> exact;
  if (dtype == DType::kI64 || dtype == DType::kU64) {
    for (size_t at = 0; at < bytes.size(); at += sizeof(uint64_t)) {
      uint64_t bits = 0;
      std::memcpy(&bits, &bytes[at], sizeof(bits));
      exact.push_back(dtype == DType::kU64 ? static_cast<long double>(bits)
                                           : static_cast<long double>(static_cast<int64_t>(bits)));
    }
    return exact;
  }
  std::vector<double> numbers(bytes.size() / BytesPerNumber(dtype));
  EXPECT_TRUE(ReadNumbers(dtype, bytes, absl::MakeSpan(numbers)).ok());
  exact.assign(numbers.begin(), numbers.end());
  return exact;
}

// One number after the other, NaNs and infinities among them.
TEST_F(ModelDiffTest, DifferenceIsThatOfANaiveLoopForAnyDType) {
  const uint32_t seed = 7;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (const DType dtype : kMeasured) {
    const size_t bytes = BytesPerNumber(dtype);
    const std::string a = RandomBytes(9001 * bytes, random);
    std::string b = a;
    for (int i = 0; i < 500; ++i) b[random() % b.size()] = static_cast<char>(random());
    const std::vector<long double> x = ExactNumbers(dtype, a);
    const std::vector<long double> y = ExactNumbers(dtype, b);
    uint64_t changed = 0;
    long double norm = 0, change = 0;
    long double largest = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      if (std::isfinite(x[i])) norm += x[i] * x[i];
      if (std::memcmp(&a[i * bytes], &b[i * bytes], bytes) == 0 || x[i] == y[i]) continue;
      ++changed;
      if (!std::isfinite(x[i]) || !std::isfinite(y[i])) continue;
      const long double distance = std::abs(x[i] - y[i]);
      change += distance * distance;
      largest = std::max(largest, std::min(distance, static_cast<long double>(DBL_MAX)));
    }
    const auto found = MeasureDifference(dtype, a, b);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->weights, x.size());
    EXPECT_EQ(found->changed, changed) << DTypeName(dtype);
    EXPECT_EQ(found->max_change, static_cast<double>(largest)) << DTypeName(dtype);
    const auto expect_near = [&](double value, double expected) {
      if (std::isfinite(expected)) {
        EXPECT_NEAR(value, expected, 1e-9 * expected) << DTypeName(dtype);
      } else {
        EXPECT_FALSE(std::isfinite(value)) << DTypeName(dtype);
      }
    };
    expect_near(found->norm.Norm(), static_cast<double>(std::sqrt(norm)));
    expect_near(found->change.Norm(), static_cast<double>(std::sqrt(change)));
  }
}

TEST_F(ModelDiffTest, NumbersThatAreNotFiniteAreCountedApart) {
  const float a[] = {1, 2, NAN, INFINITY, -0.0f, 3};
  const float b[] = {1, INFINITY, NAN, INFINITY, 0.0f, 5};
  const auto view = [](const float* x) {
    return absl::string_view(reinterpret_cast<const char*>(x), sizeof(a));
  };
  const Difference found = *MeasureDifference(DType::kF32, view(a), view(b));
  EXPECT_EQ(found.changed, 2u);
  EXPECT_EQ(found.non_finite, 1u);
  EXPECT_EQ(found.max_change, 2);
  EXPECT_DOUBLE_EQ(found.norm.Norm(), std::sqrt(1.0 + 4 + 9));
  EXPECT_DOUBLE_EQ(found.change.Norm(), 2);
  EXPECT_FALSE(found.RelativeNorm().has_value()) << "a weight became infinite";
  const float zero = 0, one = 1;
  const auto bytes = [](const float& x) {
    return absl::string_view(reinterpret_cast<const char*>(&x), 4);
  };
  EXPECT_FALSE(MeasureDifference(DType::kF32, bytes(zero), bytes(one))->RelativeNorm());
  EXPECT_EQ(MeasureDifference(DType::kF32, bytes(zero), bytes(zero))->RelativeNorm(), 0);
}

template <typename Number>
Difference DifferenceOf(DType dtype, const std::vector<Number>& a, const std::vector<Number>& b) {
  const auto bytes = [](const std::vector<Number>& numbers) {
    return absl::string_view(reinterpret_cast<const char*>(numbers.data()),
                             numbers.size() * sizeof(Number));
  };
  const auto found = MeasureDifference(dtype, bytes(a), bytes(b));
  EXPECT_TRUE(found.ok()) << found.status();
  return found.value_or(Difference());
}

// A double does not tell these apart.
TEST_F(ModelDiffTest, LargeIntegersThatDifferByOneHaveChanged) {
  const int64_t large = int64_t{1} << 60;
  const Difference i64 = DifferenceOf<int64_t>(DType::kI64, {large, -large, 5, INT64_MIN},
                                               {large + 1, -large, 5, INT64_MAX});
  EXPECT_EQ(i64.changed, 2u);
  EXPECT_EQ(i64.max_change, 0x1p64);
  const Difference one = DifferenceOf<int64_t>(DType::kI64, {large}, {large + 1});
  EXPECT_EQ(one.changed, 1u);
  EXPECT_EQ(one.max_change, 1);
  EXPECT_EQ(*one.RelativeNorm(), 0x1p-60);
  const Difference u64 =
      DifferenceOf<uint64_t>(DType::kU64, {UINT64_MAX, 0}, {UINT64_MAX - 1, UINT64_MAX});
  EXPECT_EQ(u64.changed, 2u);
  EXPECT_EQ(u64.max_change, 0x1p64);
}

TEST_F(ModelDiffTest, NormsAreRightWhereSquaresLeaveTheRangeOfDouble) {
  for (const double size : {1e-320, 1e-300, 1e-170, 1e-150, 1.0, 1e150, 1e170, 1e300}) {
    const Difference found =
        DifferenceOf<double>(DType::kF64, {3 * size, 4 * size, 0}, {3 * size, 4 * size, 5 * size});
    const double tolerance = size < 1e-310 ? 1e-2 : 1e-12;
    ASSERT_TRUE(found.RelativeNorm().has_value()) << size;
    EXPECT_NEAR(*found.RelativeNorm(), 1, tolerance) << size;
    EXPECT_NEAR(found.norm.Norm() / (5 * size), 1, tolerance) << size;
  }
  // Neither end hides the other: the tiny change is of the huge one's size nothing, but there.
  const Difference far = DifferenceOf<double>(DType::kF64, {1e200, 1e-200}, {1e200, 2e-200});
  EXPECT_EQ(far.changed, 1u);
  EXPECT_EQ(far.change.Norm(), 1e-200);
  const Difference apart = DifferenceOf<double>(DType::kF64, {-DBL_MAX}, {DBL_MAX});
  EXPECT_EQ(apart.max_change, DBL_MAX);
  EXPECT_DOUBLE_EQ(*apart.RelativeNorm(), 2);
  Difference sum = DifferenceOf<double>(DType::kF64, {3e-170}, {6e-170});
  sum.Add(DifferenceOf<double>(DType::kF64, {4e-170}, {8e-170}));
  EXPECT_DOUBLE_EQ(sum.norm.Norm(), 5e-170);
  EXPECT_DOUBLE_EQ(*sum.RelativeNorm(), 1);
}

TEST_F(ModelDiffTest, SaysTheSameStagedAndStored) {
  ASSERT_TRUE(Upload("base", SmallCheckpoint(1)).ok());
  ASSERT_TRUE(Upload("tuned", SmallCheckpoint(1, 7), {"base"}).ok());
  const auto staged = Diff("base", "tuned");
  RunJobs();
  const auto stored = Diff("base", "tuned");
  ASSERT_EQ(staged.size(), 5u);
  ASSERT_EQ(stored.size(), 5u);
  for (const auto& [name, diff] : staged) {
    const TensorDiff& other = stored.at(name);
    EXPECT_EQ(diff.change, other.change) << name;
    EXPECT_EQ(diff.difference.changed, other.difference.changed) << name;
    EXPECT_EQ(diff.difference.weights, other.difference.weights) << name;
    EXPECT_EQ(diff.difference.norm.Norm(), other.difference.norm.Norm()) << name;
    EXPECT_EQ(diff.difference.change.Norm(), other.difference.change.Norm()) << name;
  }
  EXPECT_EQ(stored.at("embed.weight").change, DiffKind::kChanged);
  EXPECT_EQ(stored.at("layers.1.norm.weight").change, DiffKind::kUnchanged);
  for (const auto& [name, diff] : Diff("tuned", "tuned")) {
    EXPECT_EQ(diff.change, DiffKind::kUnchanged) << name;
  }
}

TEST_F(ModelDiffTest, TellsWhatIsOnlyInOneOrOfAnotherKind) {
  const TestTensor w = RandomWeights("w", {64, 8}, 1);
  TestTensor retyped = RandomWeights("t", {8}, 2);
  const TestTensor t = retyped;
  retyped.dtype = DType::kF16;
  const std::string a = BuildSafetensors({w, t, RandomWeights("gone", {3}, 3)});
  const std::string b =
      BuildSafetensors({RandomWeights("w", {65, 8}, 1), retyped, RandomWeights("new", {3}, 3)});
  ASSERT_TRUE(Upload("a", {{"m.safetensors", a}, {"x.json", "1"}, {"same", "s"}}).ok());
  ASSERT_TRUE(Upload("b", {{"m.safetensors", b}, {"x.json", "2"}, {"same", "s"}, {"z", ""}}).ok());
  const auto diffs = Diff("a", "b");
  EXPECT_EQ(diffs.at("w").change, DiffKind::kShapeChanged);
  EXPECT_EQ(diffs.at("t").change, DiffKind::kDTypeChanged);
  EXPECT_EQ(diffs.at("gone").change, DiffKind::kOnlyInA);
  EXPECT_EQ(diffs.at("new").change, DiffKind::kOnlyInB);
  const auto files = DiffFiles((*Open("a"))->checkpoint(), (*Open("b"))->checkpoint());
  ASSERT_EQ(files.size(), 3u);
  EXPECT_EQ(files[0].change, DiffKind::kUnchanged);
  EXPECT_EQ(files[1].change, DiffKind::kChanged);
  EXPECT_EQ(files[2].change, DiffKind::kOnlyInB);
}

// Most chunks of a large tensor are stored as the parent's own.
TEST_F(ModelDiffTest, ChunksStoredAsTheSame) {
  const TestTensor base = RandomWeights("w", {1024, 1024}, 1);
  TestTensor tuned = base;
  tuned.data[1'500'000] ^= 1;
  TestTensor sibling = base;
  sibling.data[100] ^= 1;
  ASSERT_TRUE(Upload("base", {{"m.safetensors", BuildSafetensors({base})}}).ok());
  RunJobs();
  ASSERT_TRUE(Upload("tuned", {{"m.safetensors", BuildSafetensors({tuned})}}, {"base"}).ok());
  ASSERT_TRUE(Upload("sibling", {{"m.safetensors", BuildSafetensors({sibling})}}, {"base"}).ok());
  RunJobs();
  const Difference all = *MeasureDifference(DType::kBF16, tuned.data, sibling.data);
  EXPECT_EQ(Diff("base", "tuned").at("w").difference.changed, 1u);
  EXPECT_EQ(Diff("tuned", "base").at("w").difference.changed, 1u);
  const Difference found = Diff("tuned", "sibling").at("w").difference;
  EXPECT_EQ(found.changed, 2u);
  EXPECT_NEAR(*found.RelativeNorm(), *all.RelativeNorm(), 1e-12 * *all.RelativeNorm());
}

TEST_F(ModelDiffTest, StopsWhenAsked) {
  ASSERT_TRUE(Upload("base", SmallCheckpoint(1)).ok());
  ASSERT_TRUE(Upload("tuned", SmallCheckpoint(1, 7)).ok());
  DiffInput input{*Open("base"), *Open("tuned"), [] { return absl::CancelledError("gone"); }};
  ThreadPool pool(2);
  EXPECT_TRUE(absl::IsCancelled(
      DiffTensors(input, &pool, [](const TensorDiff&) { return absl::OkStatus(); })));
}

TEST(LayerOfTest, IsTheNameUpToTheFirstNumber) {
  EXPECT_EQ(LayerOf("model.layers.3.mlp.experts.5.up.weight"), "model.layers.3");
  EXPECT_EQ(LayerOf("h.0"), "h.0");
  EXPECT_EQ(LayerOf("model.embed_tokens.weight"), "model.embed_tokens");
  EXPECT_EQ(LayerOf("scale"), "scale");
  EXPECT_EQ(LayerOf(".x"), ".x");
}

}  // namespace
}  // namespace wdelta::testing

// Version 1 files over stored models: what deltatensors' own loader gives is what the
// store serves, or the import fails and says why.
#include "storage/engine/jobs/v1_import.h"

#include <fstream>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/tensor/safetensors.h"
#include "storage/wdelta/v1/v1_writer.h"
#include "tests/engine/engine_fixture.h"
#include "tests/wdelta/v1_bytes.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::UploadRecord;
using ::testing::HasSubstr;

std::string ReadGolden(const std::string& name) {
  std::ifstream in(WDELTA_GOLDEN_DIR "/v1/" + name, std::ios::binary);
  std::stringstream bytes;
  bytes << in.rdbuf();
  EXPECT_FALSE(bytes.str().empty()) << name;
  return bytes.str();
}

// Name to bytes of the tensors of a safetensors file.
std::map<std::string, std::string> TensorsOf(const std::string& file) {
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  const auto layout =
      ParseSafetensorsHeader(absl::string_view(file).substr(8, header_bytes), file.size());
  EXPECT_TRUE(layout.ok()) << layout.status();
  std::map<std::string, std::string> tensors;
  for (const TensorInfo& tensor : layout->tensors) {
    EXPECT_EQ(tensor.dtype, DType::kF32) << tensor.name;
    tensors[tensor.name] = file.substr(tensor.offset_bytes, tensor.size_bytes);
  }
  return tensors;
}

class V1ImportTest : public testing::EngineTest {
 protected:
  absl::StatusOr<FinishedUpload> Import(const std::string& name,
                                        const std::vector<std::string>& parents,
                                        const std::string& bytes) {
    StartUploadParams params;
    params.name = name;
    params.kind = UploadRecord::WDELTA;
    for (const std::string& parent : parents) params.parents.push_back({parent, {}, {}});
    return EngineTest::Upload(std::move(params), {{"delta.wdelta", bytes}});
  }

  absl::StatusOr<FinishedUpload> Push(const std::string& name, const std::string& bytes) {
    return EngineTest::Upload(name, {{"model.safetensors", bytes}});
  }

  // What became of the jobs is in the models' records.
  void RunJobs() { (void)TryJobs(); }

  // The only file of a READY model.
  std::string ReadBack(const std::string& name) {
    const ModelRecord record = RecordOf(name);
    EXPECT_EQ(record.state(), ModelRecord::READY) << record.error();
    const testing::Files files = EngineTest::ReadBack(name);
    EXPECT_EQ(files.size(), 1u);
    return files.at("model.safetensors");
  }
};

TEST_F(V1ImportTest, EachStrategyGivesTheValuesOfThePackage) {
  ASSERT_TRUE(Push("base", ReadGolden("base.safetensors")).ok());
  for (const std::string strategy : {"int4", "sparse", "quantized"}) {
    const auto imported = Import(strategy, {"base"}, ReadGolden(strategy + ".wdelta"));
    ASSERT_TRUE(imported.ok()) << imported.status();
    EXPECT_EQ(imported->model.record.tensor_count(), 5u);
    EXPECT_EQ(imported->model.record.parameter_count(), 40 * 9 + 24 * 33 + 6 * 5 * 7 + 17 + 3u);
  }
  RunJobs();
  for (const std::string strategy : {"int4", "sparse", "quantized"}) {
    EXPECT_EQ(TensorsOf(ReadBack(strategy)),
              TensorsOf(ReadGolden(strategy + ".expected.safetensors")))
        << strategy;
    EXPECT_EQ(RecordOf(strategy).raw_bytes(), ReadBack(strategy).size());
  }
}

TEST_F(V1ImportTest, ChainsAreImportedOneAfterTheOther) {
  ASSERT_TRUE(Push("base", ReadGolden("base.safetensors")).ok());
  // The second may be uploaded while the first still waits.
  ASSERT_TRUE(Import("middle", {"base"}, ReadGolden("int4.wdelta")).ok());
  EXPECT_EQ(RecordOf("middle").state(), ModelRecord::IMPORTING);
  const auto last = Import("last", {"middle"}, ReadGolden("chained.wdelta"));
  ASSERT_TRUE(last.ok()) << last.status();
  RunJobs();
  EXPECT_EQ(TensorsOf(ReadBack("last")), TensorsOf(ReadGolden("chained.expected.safetensors")));
  // Float32 on float32: stored against the model before it.
  EXPECT_EQ(RecordOf("last").storage_parent_id(), RecordOf("middle").id());
}

TEST_F(V1ImportTest, TheParentIsFoundByItsHashAmongSeveral) {
  ASSERT_TRUE(Push("base", ReadGolden("base.safetensors")).ok());
  ASSERT_TRUE(Push("other", ReadGolden("sparse.expected.safetensors")).ok());
  RunJobs();
  ASSERT_TRUE(Import("child", {"other", "base"}, ReadGolden("int4.wdelta")).ok());
  RunJobs();
  EXPECT_EQ(TensorsOf(ReadBack("child")), TensorsOf(ReadGolden("int4.expected.safetensors")));
}

// All hashes that the package may have written for one parent, whose shards are met in
// the order a, c (2.safetensors), b (1.safetensors).
TEST_F(V1ImportTest, AParentHasSeveralHashes) {
  const std::map<std::string, std::string> bf16 = {
      {"a", {"\x80\x3f\x00\xc0", 4}}, {"b", {"\x00\x40", 2}}, {"c", {"\x40\x40", 2}}};
  std::map<std::string, std::string> f32;  // the same numbers
  for (const auto& [name, bytes] : bf16) {
    for (size_t i = 0; i < bytes.size(); i += 2) {
      f32[name] += std::string(2, '\0') + bytes.substr(i, 2);
    }
  }
  const auto header = [](const std::vector<TensorInfo>& tensors) {
    return WriteSafetensorsHeader(tensors, {}).value();
  };
  const std::string one = header({{"b", DType::kBF16, {1}, 0, 0}}) + bf16.at("b");
  const std::string two = header({{"a", DType::kBF16, {2}, 0, 0}, {"c", DType::kBF16, {1}, 0, 0}}) +
                          bf16.at("a") + bf16.at("c");
  ASSERT_TRUE(Upload("base", {{"1.safetensors", one}, {"2.safetensors", two}}).ok());
  const auto hash = [](const std::map<std::string, std::string>& tensors,
                       const std::vector<std::string>& order) {
    Sha256Hasher hasher;
    for (const std::string& name : order) {
      hasher.Update(name);
      hasher.Update(tensors.at(name));
    }
    return hasher.Current();
  };
  const auto delta_over = [&](const Digest& parent_hash) {
    auto writer = V1Writer::Create({V1Strategy::kSparse}, files_.get(), folder_ / "arrays").value();
    for (const auto& [name, bytes] : bf16) {  // the arrays are in order of name
      const std::vector<float> zeros(bytes.size() / 2, 0.0f);
      EXPECT_TRUE(writer.AddTensor(name, {zeros.size()}, V1VectorDelta(zeros)).ok());
    }
    std::string out;
    const auto append = [&out](absl::string_view bytes) {
      out.append(bytes.data(), bytes.size());
      return absl::OkStatus();
    };
    EXPECT_TRUE(writer.Finish(parent_hash, append).ok());
    EXPECT_TRUE(files_->RemoveAll(folder_ / "arrays").ok());
    return out;
  };
  const std::vector<std::string> by_shard = {"a", "c", "b"};
  const std::vector<std::string> by_array = {"a", "b", "c"};
  const std::vector<std::string> wrong = {"b", "a", "c"};
  ASSERT_TRUE(Import("stored-by-shard", {"base"}, delta_over(hash(bf16, by_shard))).ok());
  ASSERT_TRUE(Import("stored-by-array", {"base"}, delta_over(hash(bf16, by_array))).ok());
  ASSERT_TRUE(Import("widened-by-shard", {"base"}, delta_over(hash(f32, by_shard))).ok());
  ASSERT_TRUE(Import("widened-by-array", {"base"}, delta_over(hash(f32, by_array))).ok());
  ASSERT_TRUE(Import("wrong", {"base"}, delta_over(hash(bf16, wrong))).ok());
  RunJobs();
  for (const char* name :
       {"stored-by-shard", "stored-by-array", "widened-by-shard", "widened-by-array"}) {
    EXPECT_EQ(TensorsOf(ReadBack(name)), f32) << name;
  }
  EXPECT_THAT(RecordOf("wrong").error(), HasSubstr("found " + hash(bf16, by_shard).ToHex()));
}

TEST_F(V1ImportTest, ACancelledImportFailsAndCanBeRemoved) {
  ASSERT_TRUE(Push("base", ReadGolden("base.safetensors")).ok());
  RunJobs();
  const auto waiting = Import("waiting", {"base"}, ReadGolden("int4.wdelta"));
  ASSERT_TRUE(waiting.ok());
  ASSERT_TRUE(store_->jobs().RequestCancel(waiting->job_id).ok());
  const auto running = Import("running", {"base"}, ReadGolden("int4.wdelta"));
  ASSERT_TRUE(running.ok());
  absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
  ASSERT_TRUE(claim.ok() && claim->job.has_value());
  ASSERT_TRUE(store_->jobs().RequestCancel(running->job_id).ok());
  EXPECT_TRUE(
      absl::IsCancelled(store_->runner().Run(*std::move(claim->job), [] { return false; })));
  for (const std::string name : {"waiting", "running"}) {
    EXPECT_EQ(RecordOf(name).state(), ModelRecord::FAILED) << name;
    EXPECT_THAT(RecordOf(name).error(), HasSubstr("was cancelled"));
    EXPECT_THAT(std::string(store_->reader().Open(RecordOf(name)).status().message()),
                HasSubstr("found FAILED: job"));
    ASSERT_TRUE(store_->models().Delete(name).ok());
  }
  RunJobs();
  EXPECT_TRUE(store_->models().Children(RecordOf("base").id())->empty());
}

TEST_F(V1ImportTest, WrongParentFailsWithBothHashes) {
  const std::string other = ReadGolden("sparse.expected.safetensors");
  ASSERT_TRUE(Push("other", other).ok());
  ASSERT_TRUE(Import("child", {"other"}, ReadGolden("int4.wdelta")).ok());
  RunJobs();
  const ModelRecord record = RecordOf("child");
  EXPECT_EQ(record.state(), ModelRecord::FAILED);
  Sha256Hasher hasher;
  for (const auto& [name, bytes] : TensorsOf(other)) {
    hasher.Update(name);
    hasher.Update(bytes);
  }
  EXPECT_THAT(record.error(), HasSubstr("parent_hash: expected "));
  EXPECT_THAT(record.error(), HasSubstr(", found " + hasher.Current().ToHex()));
  EXPECT_THAT(record.error(), HasSubstr("'other'"));
}

TEST_F(V1ImportTest, ParentWithoutTheTensorsFailsAndNamesOne) {
  const std::string header =
      WriteSafetensorsHeader({{"embed.weight", DType::kBF16, {40, 8}, 0, 0}}, {}).value();
  ASSERT_TRUE(Push("small", header + std::string(640, '\0')).ok());
  ASSERT_TRUE(Import("child", {"small"}, ReadGolden("int4.wdelta")).ok());
  RunJobs();
  EXPECT_THAT(
      RecordOf("child").error(),
      HasSubstr("tensor 'embed.weight': expected in the parent, shape [40,9], found [40,8]"));
}

TEST_F(V1ImportTest, IsRefusedWithoutAParentOrWhenCorrupt) {
  ASSERT_TRUE(Push("base", ReadGolden("base.safetensors")).ok());
  std::string delta = ReadGolden("int4.wdelta");
  const auto orphan = Import("orphan", {}, delta);
  EXPECT_EQ(ErrorReason(orphan.status()), "PARENT_REQUIRED") << orphan.status();
  delta[delta.size() / 2] ^= 1;
  const auto corrupt = Import("corrupt", {"base"}, delta);
  EXPECT_EQ(ErrorReason(corrupt.status()), "BAD_WDELTA") << corrupt.status();
  EXPECT_THAT(std::string(corrupt.status().message()), HasSubstr("delta.wdelta: checksum"));
}

}  // namespace
}  // namespace wdelta

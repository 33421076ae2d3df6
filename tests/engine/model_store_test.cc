// The engine over in-memory storage: an upload becomes a model that reads back exactly,
// whatever its state, and leaves nothing behind when it is deleted.
#include "storage/engine/model_store.h"

#include <filesystem>
#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/base/error.h"
#include "storage/catalog/keys.h"
#include "storage/tensor/safetensors.h"
#include "tests/engine/engine_fixture.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;
using store::v1::ModelRecord;
using testing::Files;

std::string RandomBf16(uint64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> weights(0.0f, 0.02f);
  std::string bytes;
  for (uint64_t i = 0; i < count; ++i) {
    const float value = weights(random);
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bytes.push_back(static_cast<char>(bits >> 16));
    bytes.push_back(static_cast<char>(bits >> 24));
  }
  return bytes;
}

// A checkpoint of one matrix of `rows` x 512 and a scalar; each of the first
// `changed` low bytes differs from the base's.
Files MakeCheckpoint(uint64_t rows, size_t changed) {
  std::string matrix = RandomBf16(rows * 512, 1);
  for (size_t i = 0; i < changed; ++i) matrix[2 * i] = static_cast<char>(matrix[2 * i] + 1 + i % 3);
  const std::vector<TensorInfo> tensors = {{"w", DType::kBF16, {rows, 512}, 0, 0},
                                           {"scalar", DType::kF64, {}, 0, 0},
                                           {"empty", DType::kI8, {0, 7}, 0, 0}};
  const std::string header = WriteSafetensorsHeader(tensors, {{"format", "pt"}}).value();
  return {{"config.json", absl::StrCat("{\"rows\": ", rows, "}")},
          {"model.safetensors", header + matrix + std::string(8, '\x3f')},
          {"notes/empty.txt", ""}};
}

class ModelStoreTest : public testing::EngineTest {
 protected:
  void Restart() {
    clock_.Advance(absl::Seconds(1));  // ids are ordered by time over restarts too
    EngineTest::Restart();
  }

  absl::StatusOr<std::string> Start(const std::string& name,
                                    const std::vector<std::string>& parents) {
    StartUploadParams params;
    params.name = name;
    for (const std::string& parent : parents) params.parents.push_back({parent, {}, {}});
    const absl::StatusOr<UploadView> upload = store_->uploads().Start(params);
    if (!upload.ok()) return upload.status();
    return upload->record.id();
  }

  // Runs jobs until none is left, those that were put back too: the clock goes on to
  // when they are due. Returns how many runs there were.
  int RunJobs() {
    constexpr int kMaxRuns = 1000;
    int count = 0;
    while (true) {
      absl::StatusOr<JobQueue::Claim> claim = store_->jobs().ClaimNext();
      EXPECT_TRUE(claim.ok()) << claim.status();
      if (!claim->job.has_value()) {
        if (claim->retry_at == absl::InfiniteFuture()) return count;
        clock_.AdvanceTo(claim->retry_at);
        continue;
      }
      const absl::Status status =
          store_->runner().Run(*std::move(claim->job), [] { return false; });
      EXPECT_TRUE(status.ok()) << status;
      if (++count == kMaxRuns) {
        ADD_FAILURE() << "a job is put back for ever";
        return count;
      }
    }
  }

  ModelRecord::State StateOf(const std::string& reference) {
    return store_->models().Resolve(reference)->record.state();
  }
};

TEST_F(ModelStoreTest, IsServedFromStagingThenFromItsDelta) {
  const Files base = MakeCheckpoint(600, 0);
  const Files tuned = MakeCheckpoint(600, 5000);
  ASSERT_TRUE(Upload("base", base).ok());
  ASSERT_TRUE(Upload("tuned", tuned, {"base"}).ok());
  EXPECT_EQ(StateOf("tuned"), ModelRecord::STAGED);
  EXPECT_EQ(ReadBack("tuned"), tuned);

  EXPECT_EQ(RunJobs(), 2);
  EXPECT_EQ(StateOf("tuned"), ModelRecord::READY);
  EXPECT_EQ(ReadBack("base"), base);
  EXPECT_EQ(ReadBack("tuned"), tuned);
  const ModelRecord record = store_->models().Resolve("tuned")->record;
  EXPECT_EQ(record.storage_depth(), 1u);
  EXPECT_LT(record.stored_bytes(), record.raw_bytes() / 10);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path())) << "staged bytes were left behind";
}

TEST_F(ModelStoreTest, GrownVocabularyUsesTheCommonRows) {
  ASSERT_TRUE(Upload("base", MakeCheckpoint(600, 0)).ok());
  const Files grown = MakeCheckpoint(613, 0);
  ASSERT_TRUE(Upload("grown", grown, {"base"}).ok());
  RunJobs();
  EXPECT_EQ(ReadBack("grown"), grown);
  const ModelRecord record = store_->models().Resolve("grown")->record;
  EXPECT_LT(record.stored_bytes(), record.raw_bytes() / 4);
}

TEST_F(ModelStoreTest, StorageChainsStayShallow) {
  std::vector<Files> versions;
  for (size_t i = 0; i < 8; ++i) {
    versions.push_back(MakeCheckpoint(64, 100 * i));
    const std::string name = absl::StrCat("v", i);
    const std::string parent = absl::StrCat("v", i - 1);
    ASSERT_TRUE(Upload(name, versions[i],
                       i == 0 ? std::vector<std::string>{} : std::vector<std::string>{parent})
                    .ok());
  }
  RunJobs();
  for (size_t i = 0; i < versions.size(); ++i) {
    const std::string name = absl::StrCat("v", i);
    EXPECT_EQ(ReadBack(name), versions[i]);
    EXPECT_LE(store_->models().Resolve(name)->record.storage_depth(), limits::kMaxStorageDepth);
  }
}

TEST_F(ModelStoreTest, UnfinishedWorkGoesOnAfterARestart) {
  const Files base = MakeCheckpoint(100, 0);
  ASSERT_TRUE(Upload("base", base).ok());
  // Claimed, then the daemon dies.
  ASSERT_TRUE(store_->jobs().ClaimNext()->job.has_value());
  Restart();
  EXPECT_EQ(ReadBack("base"), base);
  EXPECT_EQ(RunJobs(), 1);
  EXPECT_EQ(StateOf("base"), ModelRecord::READY);
  EXPECT_EQ(ReadBack("base"), base);
}

TEST_F(ModelStoreTest, AnUploadGoesOnAtItsDurableSizeAfterARestart) {
  const Files files = MakeCheckpoint(100, 0);
  const std::string& bytes = files.at("model.safetensors");
  const std::string id = *Start("base", {});
  ASSERT_TRUE(store_->uploads().AddEntries(id, {{"model.safetensors", bytes.size(), ""}}).ok());
  {
    auto writer = *store_->uploads().OpenWriter(id);
    ASSERT_TRUE(writer->Write("model.safetensors", 0, bytes.substr(0, 1000)).ok());
    ASSERT_TRUE(writer->Sync().ok());
    ASSERT_TRUE(writer->Write("model.safetensors", 1000, bytes.substr(1000, 500)).ok());
  }  // not synced: lost
  Restart();
  ASSERT_EQ(store_->uploads().Get(id)->durable_bytes, std::vector<uint64_t>{1000});
  {
    auto writer = *store_->uploads().OpenWriter(id);
    EXPECT_EQ(ErrorReason(writer->Write("model.safetensors", 1500, "x")), "WRONG_OFFSET");
    ASSERT_TRUE(writer->Write("model.safetensors", 1000, bytes.substr(1000)).ok());
    ASSERT_TRUE(writer->Sync().ok());
  }
  const absl::StatusOr<FinishedUpload> finished =
      store_->uploads().Finish(id, {{"model.safetensors", Digest::Of(bytes).ToHex()}});
  ASSERT_TRUE(finished.ok()) << finished.status();
  // Finishing twice is harmless.
  EXPECT_EQ(store_->uploads().Finish(id, {})->model.record.id(), finished->model.record.id());
}

TEST_F(ModelStoreTest, DeletingKeepsWhatOthersNeedAndThenLeavesNothing) {
  const Files base = MakeCheckpoint(200, 0);
  const Files tuned = MakeCheckpoint(200, 50);
  ASSERT_TRUE(Upload("base", base).ok());
  ASSERT_TRUE(Upload("tuned", tuned, {"base"}).ok());
  RunJobs();
  ASSERT_TRUE(store_->models().SetTag("base", "prod", "base").ok());
  ASSERT_TRUE(store_->models().Delete("base").ok());
  RunJobs();
  EXPECT_EQ(ErrorReason(store_->models().Resolve("base").status()), "MODEL_NOT_FOUND");
  EXPECT_EQ(ErrorReason(store_->models().Resolve("base@prod").status()), "MODEL_NOT_FOUND");
  EXPECT_EQ(ReadBack("tuned"), tuned);

  ASSERT_TRUE(store_->models().Delete("tuned").ok());
  RunJobs();
  EXPECT_TRUE(blobs_.List("", 10)->blobs.empty());
  // The history of a tag stays.
  for (const std::string prefix : {"model/", "name/", "version/", "tag/", "tagged/", "digest/",
                                   "child/", "encoded_on/", "blob", "staged/", "queue/"}) {
    const ScanPage left = *catalog_.Scan({prefix, PrefixEnd(prefix), 10, false});
    EXPECT_TRUE(left.records.empty()) << left.records[0].key << " was left behind";
  }
}

TEST_F(ModelStoreTest, EqualContentIsStoredOnceAndSurvivesItsTwin) {
  const Files base = MakeCheckpoint(200, 0);
  ASSERT_TRUE(Upload("one", base).ok());
  RunJobs();
  const size_t blobs = blobs_.List("", 100)->blobs.size();
  ASSERT_TRUE(Upload("two", base).ok());
  RunJobs();
  EXPECT_EQ(blobs_.List("", 100)->blobs.size(), blobs);
  ASSERT_TRUE(store_->models().Delete("one").ok());
  RunJobs();
  EXPECT_EQ(ReadBack("two"), base);
}

TEST_F(ModelStoreTest, RefusesWhatIsWrong) {
  const Files base = MakeCheckpoint(10, 0);
  ASSERT_TRUE(Upload("base", base).ok());
  EXPECT_EQ(ErrorReason(Upload("base", base).status()), "NAME_TAKEN");
  EXPECT_EQ(ErrorReason(Upload("x", base, {"nobody"}).status()), "MODEL_NOT_FOUND");
  EXPECT_EQ(ErrorReason(Upload("x", {{"../x", "a"}}).status()), "BAD_PATH");
  EXPECT_EQ(ErrorReason(Upload("x", {{"m.safetensors", "short"}}).status()), "BAD_SAFETENSORS");
  EXPECT_EQ(ErrorReason(Upload("x", {}).status()), "NO_ENTRIES");
  Files truncated = base;
  truncated["model.safetensors"].resize(truncated["model.safetensors"].size() - 1);
  const absl::Status status = Upload("x", truncated).status();
  EXPECT_EQ(ErrorReason(status), "BAD_SAFETENSORS");
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("model.safetensors"));
}

// `merge.…` is written by the store alone.
TEST_F(ModelStoreTest, MetadataOfMergesIsReserved) {
  StartUploadParams params;
  params.name = "m";
  params.metadata = {{"author", "me"}, {"merge.sources", "mine"}};
  const absl::Status started = store_->uploads().Start(params).status();
  EXPECT_EQ(started.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorReason(started), "BAD_METADATA");
  EXPECT_THAT(std::string(started.message()), ::testing::HasSubstr("merge.sources"));

  ASSERT_TRUE(Upload("m", MakeCheckpoint(1, 0)).ok());
  ModelRecord record = RecordOf("m");
  (*record.mutable_metadata())["merge.method"] = "ties";
  Commit commit;
  commit.Write(keys::Model(record.id()), record.SerializeAsString());
  ASSERT_TRUE(catalog_.Apply(commit).ok());
  const auto update = [&](StringMap metadata) {
    return store_->models().Update("m", std::nullopt, std::move(metadata), 0).status();
  };
  for (const char* key : {"merge.method", "merge.x"}) {
    const absl::Status refused = update({{key, "linear"}});
    EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ErrorReason(refused), "BAD_METADATA");
    EXPECT_THAT(std::string(refused.message()), ::testing::HasSubstr(key));
  }
  const auto metadata = [this] {
    const ModelRecord updated = RecordOf("m");
    return StringMap(updated.metadata().begin(), updated.metadata().end());
  };
  // Left out, or given as it was read.
  ASSERT_TRUE(update({{"note", "1"}}).ok());
  EXPECT_EQ(metadata(), (StringMap{{"merge.method", "ties"}, {"note", "1"}}));
  ASSERT_TRUE(update({{"merge.method", "ties"}, {"note", "2"}}).ok());
  EXPECT_EQ(metadata(), (StringMap{{"merge.method", "ties"}, {"note", "2"}}));
}

// Also where the other one comes between the check and the commit.
TEST_F(ModelStoreTest, TheCheckOfAFinishSeesTheVersionBefore) {
  ASSERT_TRUE(Upload("m", MakeCheckpoint(8, 0)).ok());
  const std::string old_id = RecordOf("m").id();
  StartUploadParams params;
  params.name = "m";
  params.new_version = true;
  const std::string upload = store_->uploads().Start(params)->record.id();
  ASSERT_TRUE(store_->uploads().AddEntries(upload, {{"a.txt", 1, ""}}).ok());
  {
    const auto writer = *store_->uploads().OpenWriter(upload);
    ASSERT_TRUE(writer->Write("a.txt", 0, "a").ok());
    ASSERT_TRUE(writer->Sync().ok());
  }
  int runs = 0;
  const auto check = [&]() -> absl::Status {
    ++runs;
    if (RecordOf("m").id() != old_id) return absl::FailedPreconditionError("moved");
    EXPECT_TRUE(Upload(params, MakeCheckpoint(8, 1)).ok());
    return absl::OkStatus();
  };
  const absl::Status refused = store_->uploads().Finish(upload, {}, nullptr, check).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(ReadBack("m"), MakeCheckpoint(8, 1));
  // It is open still.
  EXPECT_TRUE(store_->uploads().Finish(upload, {}).ok());
  EXPECT_EQ(ReadBack("m"), (Files{{"a.txt", "a"}}));
}

TEST_F(ModelStoreTest, ADamagedPieceIsDataLossForThoseWhoNeedIt) {
  ASSERT_TRUE(Upload("base", MakeCheckpoint(600, 0)).ok());
  RunJobs();
  const ModelRecord record = store_->models().Resolve("base")->record;
  ASSERT_TRUE(blobs_.Delete(*Digest::FromBytes(record.delta_pieces(0).blob_digest())).ok());
  const absl::Status status = store_->reader().Open(record).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("base"));
}

}  // namespace
}  // namespace wdelta

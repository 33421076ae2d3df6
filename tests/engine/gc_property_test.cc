// Random lineages, uploads, merges, tags, deletions, collections, repacks, crashes and restarts:
// after every step every live model reads back exactly, and when all are deleted nothing is left.
#include <filesystem>
#include <optional>
#include <random>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "storage/engine/records/merge_recipe.h"
#include "storage/engine/records/records.h"
#include "storage/tensor/element_values.h"
#include "tests/engine/engine_fixture.h"
#include "tests/support/checkpoint_builder.h"
#include "tests/support/merge_reference.h"
#include "tests/support/test_seed.h"

namespace wdelta {
namespace {

using store::v1::JobRecord;
using store::v1::MergeRecipe;
using store::v1::ModelRecord;
using testing::Files;
using ::testing::IsEmpty;
using testing::TestTensor;

class GcPropertyTest : public testing::EngineTest {
 protected:
  struct Live {
    std::vector<TestTensor> tensors;
    Files files;
  };

  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }

  const std::string& AnyName() {
    auto it = live_.begin();
    std::advance(it, Random(static_cast<uint32_t>(live_.size())));
    return it->first;
  }

  void UploadOne() {
    Live model;
    std::vector<std::string> parents;
    if (live_.empty() || Random(6) == 0) {
      const uint32_t seed = Random(3);  // equal content now and then
      model.tensors = {testing::RandomWeights("a", {60, 640}, 100 + seed),
                       testing::RandomWeights("b", {64}, 200 + seed)};
    } else {
      const std::string& origin = AnyName();
      model.tensors = live_[origin].tensors;
      if (Random(5) > 0) {
        for (TestTensor& tensor : model.tensors) tensor = testing::FineTuned(tensor, Random(50));
      }
      if (Random(4) > 0) parents.push_back(origin);
      const std::string& second = AnyName();
      if (Random(3) == 0 && second != origin) parents.push_back(second);
    }
    model.files = {{"model.safetensors", testing::BuildSafetensors(model.tensors)},
                   {"note.txt", absl::StrCat("note ", Random(4))}};
    const std::string name = absl::StrCat("m", ++made_);
    const absl::StatusOr<FinishedUpload> upload = Upload(name, model.files, parents);
    if (crash_.crashed()) return;
    ASSERT_TRUE(upload.ok()) << upload.status();
    live_[name] = std::move(model);
  }

  // A linear merge of two models or the deltas of one to another. All have the same tensors.
  void MergeOne() {
    const std::string first = AnyName();
    const std::string second = AnyName();
    if (first == second) return;
    MergeParams params;
    params.name = absl::StrCat("m", ++made_);
    params.request_id = params.name;
    params.recipe.set_method(Random(2) == 0 ? MergeRecipe::LINEAR : MergeRecipe::TIES);
    params.recipe.set_scale(1);
    params.recipe.set_density(0.5);
    params.recipe.add_sources()->set_weight(1);
    params.sources = {second};
    if (HasBase(params.recipe.method())) {
      params.base = first;
    } else {
      params.recipe.add_sources()->set_weight(1 + Random(3));
      params.sources = {first, second};
    }
    const auto started = store_->merges().Start(params);
    ASSERT_TRUE(started.ok()) << started.status();
    Live model = live_[first];
    for (size_t i = 0; i < model.tensors.size(); ++i) {
      TestTensor& tensor = model.tensors[i];
      std::vector<testing::Vector> numbers;
      for (const std::string& data : {tensor.data, live_[second].tensors[i].data}) {
        testing::Vector& of_model = numbers.emplace_back(data.size() / 2);
        ASSERT_TRUE(ReadNumbers(tensor.dtype, data, absl::MakeSpan(of_model)).ok());
      }
      tensor.data =
          WriteNumbers(tensor.dtype, testing::ReferenceMerge(params.recipe, numbers)).value();
    }
    model.files["model.safetensors"] = testing::BuildSafetensors(model.tensors);
    merging_[params.name] = std::move(model);
  }

  // Those that are computed are models like the others.
  void TakeMerged() {
    for (auto it = merging_.begin(); it != merging_.end();) {
      const ModelRecord record = RecordOf(it->first);
      if (record.state() == ModelRecord::IMPORTING) {
        ++it;
        continue;
      }
      if (record.state() == ModelRecord::READY) {
        ++merged_;
        live_[it->first] = std::move(it->second);
      } else {  // too many crashes
        ASSERT_EQ(record.state(), ModelRecord::FAILED);
        ASSERT_TRUE(store_->models().Delete(it->first).ok());
      }
      it = merging_.erase(it);
    }
  }

  void DeleteOne() {
    if (!merging_.empty() && (live_.empty() || Random(3) == 0)) {
      ASSERT_TRUE(store_->models().Delete(merging_.begin()->first).ok());
      merging_.erase(merging_.begin());
      return;
    }
    const std::string name = AnyName();
    const absl::Status status = store_->models().Delete(name);
    ASSERT_TRUE(status.ok()) << status;
    live_.erase(name);
  }

  // Like workers that find what was put back due again.
  void RunSomeJobs(int rounds) {
    for (int i = 0; i < rounds && !crash_.crashed(); ++i) {
      TryJobs().IgnoreError();
      clock_.Advance(absl::Minutes(2));
    }
  }

  void Crash() {
    crash_.steps_left = static_cast<int>(Random(60));
    if (Random(2) == 0) (void)store_->maintenance().StartGc();
    RunSomeJobs(2);
    RestartDaemon();
  }

  // No fetch outlives it.
  void RestartDaemon() {
    held_.reset();
    Restart();
  }

  void Step() {
    switch (Random(14)) {
      case 0:
      case 1:
      case 2:
        if (live_.size() < 9) UploadOne();
        break;
      case 3:
      case 4:
        if (live_.size() > 1) DeleteOne();
        break;
      case 5: {
        if (live_.empty()) break;
        const std::string tag = absl::StrCat("t", Random(3));
        EXPECT_TRUE(store_->models().SetTag("tags", tag, AnyName()).ok());
        break;
      }
      case 6:
        (void)store_->models().DeleteTag("tags", absl::StrCat("t", Random(3)));
        break;
      case 7:
        if (!live_.empty()) (void)store_->models().Repack(AnyName(), store::v1::FAST);
        break;
      case 8:
        EXPECT_TRUE(store_->maintenance().StartGc().ok());
        break;
      case 9:
        HoldOne();
        break;
      case 10:
        Crash();
        break;
      case 11:
        storage_policy_.max_chain_depth = Random(5);
        RestartDaemon();
        break;
      default:
        if (!live_.empty() && live_.size() + merging_.size() < 9) MergeOne();
        break;
    }
    if (Random(3) > 0) RunSomeJobs(1);
  }

  // A fetch that goes on over the next steps, and a look at the one before.
  void HoldOne() {
    CheckHeld();
    held_.reset();
    if (live_.empty()) return;
    const std::string& name = AnyName();
    held_ = *Open(name);
    held_files_ = live_[name].files;
  }

  void CheckHeld() {
    if (held_ == nullptr) return;
    EXPECT_TRUE(ReadAll(held_) == held_files_) << "of a fetch";
  }

  void CheckAll() {
    ASSERT_NO_FATAL_FAILURE(TakeMerged());
    for (const auto& [name, model] : live_) ASSERT_TRUE(ReadBack(name) == model.files) << name;
    CheckHeld();
  }

  void ExpectNothingLeft() {
    EXPECT_THAT(BlobHexes(), IsEmpty());
    for (const char* prefix :
         {"model/",   "name/",       "version/",        "tag/",         "tagged/", "digest/",
          "child/",   "encoded_on/", "storage_choice/", "indexed/",     "layout/", "tensor/",
          "blob/",    "blob_of/",    "staged/",         "open_upload/", "queue/",  "needed_by/",
          "request/", "gc_kept/"}) {
      const ScanPage page = *catalog_.Scan({prefix, PrefixEnd(prefix), 10, false});
      EXPECT_THAT(page.records, IsEmpty()) << page.records[0].key;
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
  }

  void RunSeed(uint32_t seed, int steps) {
    SCOPED_TRACE(testing::SeedTrace(seed));
    random_.seed(seed);
    for (int step = 0; step < steps; ++step) {
      SCOPED_TRACE(absl::StrCat("step ", step));
      ASSERT_NO_FATAL_FAILURE(Step());
      ASSERT_NO_FATAL_FAILURE(CheckAll());
      if (HasFailure()) return;
    }
    held_.reset();
    while (!live_.empty() || !merging_.empty()) {
      ASSERT_NO_FATAL_FAILURE(DeleteOne());
      if (Random(2) == 0) RunSomeJobs(1);
      ASSERT_NO_FATAL_FAILURE(CheckAll());
    }
    RunSomeJobs(4);
    const absl::StatusOr<std::string> gc = store_->maintenance().StartGc();
    ASSERT_TRUE(gc.ok());
    RunSomeJobs(4);
    const JobRecord job = store_->jobs().Get(*gc)->record;
    EXPECT_EQ(job.state(), JobRecord::SUCCEEDED) << job.error();
    EXPECT_THAT(job.gc_report().problems(), IsEmpty());
    ExpectNothingLeft();
  }

  std::mt19937 random_;
  int made_ = 0;
  int merged_ = 0;
  std::map<std::string, Live> live_;
  std::map<std::string, Live> merging_;  // to be computed
  ContentSourcePtr held_;
  Files held_files_;
};

TEST_F(GcPropertyTest, EveryLiveModelReadsBackAndNothingIsLeft) {
  if (const std::optional<uint32_t> chosen = testing::ChosenSeed()) {
    RunSeed(*chosen, 120);
    return;
  }
  for (uint32_t seed = 1; seed <= 6; ++seed) {
    RunSeed(seed, 60);
    if (HasFailure()) return;
  }
  EXPECT_GT(merged_, 0);
}

}  // namespace
}  // namespace wdelta

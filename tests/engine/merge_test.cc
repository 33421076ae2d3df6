// What merges compute, and what they refuse.
#include <functional>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/engine/merge_fixture.h"

namespace wdelta::testing {
namespace {

using store::v1::JobRecord;
using store::v1::MergeRecipe;
using store::v1::ModelRecord;
using store::v1::ParentEdge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(MergeTest, IsThatOfAReferenceOverWholeTensors) {
  const uint32_t seed = 11;
  SCOPED_TRACE(seed);
  StoreFamily(seed);
  for (const auto method : {MergeRecipe::LINEAR, MergeRecipe::TASK_ARITHMETIC, MergeRecipe::TIES}) {
    MergeParams params = Params(method, {"a", "b"}, {0.3, 0.6});
    params.name = std::string(MethodName(method));
    Start(params);
    EXPECT_EQ(RecordOf(params.name).state(), ModelRecord::IMPORTING);
    EXPECT_EQ(ErrorReason(Open(params.name).status()), "MODEL_IMPORTING");
    RunJobs();
    const ModelRecord record = RecordOf(params.name);
    ASSERT_EQ(record.state(), ModelRecord::READY) << record.error();
    const Files files = ReadBack(params.name);
    EXPECT_TRUE(files.at("model.safetensors") == ExpectedFile(params)) << params.name;
    EXPECT_EQ(files.at("config.json"), HasBase(method) ? "{\"of\": \"base\"}" : "{\"of\": \"a\"}");
    EXPECT_EQ(record.raw_bytes(), RecordOf(HasBase(method) ? "base" : "a").raw_bytes());
    EXPECT_EQ(record.tensor_count(), base_.size());
    EXPECT_LT(record.stored_bytes(), record.raw_bytes());
  }
  ExpectNoHolds();
}

TEST_F(MergeTest, LineageAndRecipeAreWritten) {
  StoreFamily(12);
  MergeParams params = Params(MergeRecipe::TIES, {"a", "b"}, {0.1, 2});
  params.labels = {{"team", "nlp"}};
  params.metadata = {{"note", "x"}};
  Start(params);
  RunJobs();
  const ModelRecord record = RecordOf("merged");
  ASSERT_EQ(record.parents_size(), 3);
  const auto expect_edge = [&](int i, const std::string& model, const std::string& role,
                               const std::string& weight) {
    const ParentEdge& edge = record.parents(i);
    EXPECT_EQ(edge.model_id(), RecordOf(model).id());
    EXPECT_EQ(edge.relation(), ParentEdge::MERGE);
    EXPECT_EQ(edge.metadata().at("role"), role);
    EXPECT_EQ(edge.metadata().contains("weight") ? edge.metadata().at("weight") : "", weight);
  };
  expect_edge(0, "base", "base", "");
  expect_edge(1, "a", "source", "0.1");
  expect_edge(2, "b", "source", "2");
  EXPECT_EQ(record.labels().at("team"), "nlp");
  EXPECT_EQ(record.metadata().at("note"), "x");
  EXPECT_EQ(record.metadata().at("merge.density"), "0.3");
  EXPECT_EQ(store_->models().Children(RecordOf("a").id())->back(), record.id());

  // Done again from what is written, it gives the same bytes.
  MergeParams again;
  again.name = "again";
  again.recipe.set_method(MergeRecipe::TIES);
  again.base = record.metadata().at("merge.base");
  again.sources = absl::StrSplit(record.metadata().at("merge.sources"), ' ');
  for (const absl::string_view weight :
       absl::StrSplit(record.metadata().at("merge.weights"), ',')) {
    again.recipe.add_sources()->set_weight(std::stod(std::string(weight)));
  }
  again.recipe.set_scale(std::stod(record.metadata().at("merge.lambda")));
  again.recipe.set_density(std::stod(record.metadata().at("merge.density")));
  Start(again);
  RunJobs();
  EXPECT_EQ(RecordOf("again").digest(), record.digest());
  EXPECT_EQ(RecordOf("again").state(), ModelRecord::READY);
}

// How the sources are stored does not matter, nor whether they are stored at all.
TEST_F(MergeTest, GivesTheSameWhateverTheSourcesAreStoredAs) {
  const Files a = SmallCheckpoint(1, 7), b = SmallCheckpoint(1, 8);
  Store("base", {RandomWeights("unrelated", {8}, 1)});
  ASSERT_TRUE(Upload("x", a, {"base"}).ok());
  RunJobs();
  ASSERT_TRUE(Upload("y", b, {"x"}).ok());
  RunJobs();
  MergeParams params = Params(MergeRecipe::LINEAR, {"x", "y"}, {1, 2});
  Start(params);
  RunJobs();
  // Staged for good.
  params.sources = {"x2", "y2"};
  for (const auto& [name, files] : std::map<std::string, Files>{{"x2", a}, {"y2", b}}) {
    const auto uploaded = Upload(name, files);
    ASSERT_TRUE(uploaded.ok());
    ASSERT_TRUE(store_->jobs().RequestCancel(uploaded->job_id).ok());
  }
  params.name = "of-staged";
  Start(params);
  RunJobs();
  EXPECT_EQ(RecordOf("of-staged").state(), ModelRecord::READY);
  EXPECT_EQ(RecordOf("of-staged").digest(), RecordOf("merged").digest());
}

// Bytes that are equal in all models are not touched: masks, NaNs of any kind.
TEST_F(MergeTest, WhatIsEqualInAllStaysAsItIs) {
  const TestTensor odd_nans = {
      "mask", DType::kF32, {2}, std::string("\1\0\xff\xff\0\0\x80\xff", 8)};
  const TestTensor complex = {"c", DType::kC64, {1}, "12345678"};
  std::mt19937 random(5);
  const TestTensor w = TensorOf("w", DType::kBF16, RandomNumbers(100, random));
  Store("base", {odd_nans, complex, w});
  Store("a", {odd_nans, complex, Moved(w, random)});
  Store("b", {odd_nans, complex, Moved(w, random)});
  for (const auto method : {MergeRecipe::LINEAR, MergeRecipe::TASK_ARITHMETIC, MergeRecipe::TIES}) {
    MergeParams params = Params(method, {"a", "b"}, {1, 1});
    params.name = std::string(MethodName(method));
    Start(params);
    RunJobs();
    const std::string file = ReadBack(params.name).at("model.safetensors");
    EXPECT_THAT(file, HasSubstr(odd_nans.data + complex.data));
  }
}

TEST_F(MergeTest, RefusesTensorsThatDoNotFit) {
  const TestTensor w = RandomWeights("w", {4, 8}, 1);
  const TestTensor v = RandomWeights("v", {4}, 2);
  TestTensor retyped = w;
  retyped.dtype = DType::kF16;
  TestTensor scale = {"scale", DType::kF8E8M0, {1}, "\x70"};
  Store("a", {w, v});
  Store("less", {w});
  Store("more", {w, v, RandomWeights("z", {2}, 1), RandomWeights("y", {2}, 1)});
  Store("reshaped", {RandomWeights("w", {8, 4}, 1), v});
  Store("retyped", {retyped, v});
  Store("scaled", {w, scale});
  scale.data = "\x71";
  Store("scaled2", {w, scale});
  const auto message = [&](const std::string& first, const std::string& second) {
    const auto started =
        store_->merges().Start(Params(MergeRecipe::LINEAR, {first, second}, {1, 1}));
    EXPECT_EQ(ErrorReason(started.status()), "TENSOR_MISMATCH") << started.status();
    EXPECT_TRUE(absl::IsFailedPrecondition(started.status()));
    return std::string(started.status().message());
  };
  EXPECT_EQ(message("a", "less"), "model 'less': tensor 'v': expected BF16 [4], found none");
  EXPECT_EQ(message("a", "more"),
            "model 'more': tensor 'y': expected none, as in 'a', found BF16 [2]");
  EXPECT_EQ(message("a", "reshaped"),
            "model 'reshaped': tensor 'w': expected BF16 [4,8], found BF16 [8,4]");
  EXPECT_EQ(message("a", "retyped"),
            "model 'retyped': tensor 'w': expected BF16 [4,8], found F16 [4,8]");
  // That bytes differ is known only in the job.
  MergeParams params = Params(MergeRecipe::LINEAR, {"scaled", "scaled2"}, {1, 1});
  const std::string job = Start(params);
  EXPECT_EQ(ErrorReason(TryJobs()), "TENSOR_MISMATCH");
  EXPECT_EQ(store_->jobs().Get(job)->record.state(), JobRecord::FAILED);
  EXPECT_EQ(RecordOf("merged").state(), ModelRecord::FAILED);
  EXPECT_THAT(RecordOf("merged").error(), HasSubstr("as F8_E8M0 cannot be merged"));
  EXPECT_THAT(std::string(Open("merged").status().message()), HasSubstr("cannot be merged"));
  ExpectNoHolds();
  ASSERT_TRUE(store_->models().Delete("merged").ok());
  RunJobs();
  EXPECT_THAT(store_->models().Children(RecordOf("scaled").id()).value(), IsEmpty());
}

TEST_F(MergeTest, RefusesWhatItCannotDo) {
  StoreFamily(13);
  ASSERT_TRUE(Upload("other", SmallCheckpoint(1)).ok());
  MergeParams params = Params(MergeRecipe::TIES, {"a", "b"}, {1, 1});
  const auto with = [&](const std::function<void(MergeParams&)>& change) {
    MergeParams changed = params;
    change(changed);
    return ReasonOf(changed);
  };
  EXPECT_EQ(with([](auto& p) { p.name = std::string("-x"); }), "BAD_NAME");
  EXPECT_EQ(with([](auto& p) { p.name = std::string("a"); }), "NAME_TAKEN");
  EXPECT_EQ(with([](auto& p) { p.base = std::string(""); }), "BAD_BASE");
  EXPECT_EQ(with([](auto& p) { p.recipe.set_method(MergeRecipe::LINEAR); }), "BAD_BASE");
  EXPECT_EQ(with([](auto& p) { p.base = std::string("a"); }), "MODEL_TWICE");
  EXPECT_EQ(with([](auto& p) { p.sources[1] = std::string("a"); }), "MODEL_TWICE");
  EXPECT_EQ(with([](auto& p) { p.sources[1] = std::string("nobody"); }), "MODEL_NOT_FOUND");
  EXPECT_EQ(with([](auto& p) { p.metadata["merge.x"] = std::string("1"); }), "BAD_METADATA");
  EXPECT_EQ(with([](auto& p) { p.labels[""] = std::string("1"); }), "BAD_LABELS");
  EXPECT_EQ(with([](auto& p) { p.recipe.set_density(0); }), "BAD_DENSITY");
  EXPECT_EQ(with([](auto& p) { p.request_id = std::string(200, 'x'); }), "BAD_REQUEST_ID");
  params.request_id = "once";
  const std::string job = Start(params);
  // A model that is not computed yet is no source.
  EXPECT_EQ(with([](auto& p) {
              p.request_id = std::string("");
              p.name = std::string("c");
              p.sources[1] = std::string("merged");
            }),
            "MODEL_IMPORTING");
  EXPECT_EQ(Start(params), job);
  params.fingerprint = Digest::Of("another");
  EXPECT_EQ(ReasonOf(params), "REQUEST_ID_REUSED");
  const ScanPage models = *catalog_.Scan({"model/", PrefixEnd("model/"), 100, false});
  EXPECT_EQ(models.records.size(), 5u);
}

}  // namespace
}  // namespace wdelta::testing

// Malformed merges, blames, comparisons, searches and questions about the lineage.
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "storage/base/limits.h"
#include "tests/server/malformed_table.h"

namespace wdelta::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

class MalformedQueriesTest : public MalformedInputTest {
 protected:
  template <typename Response, typename Reader>
  static grpc::Status StatusOf(const std::unique_ptr<Reader>& reader) {
    Response response;
    EXPECT_FALSE(reader->Read(&response));
    return reader->Finish();
  }

  template <typename Change>
  void AddMerge(const std::string& label, Change change, const std::string& error,
                std::vector<std::string> words) {
    v1::MergeModelsRequest request;
    request.set_name("merged");
    request.set_base("good");
    request.add_sources()->set_model("tuned");
    request.mutable_ties();
    change(request);
    cases_.push_back(
        {"merge: " + label,
         [this, request] { return Call(*server_.merge, &v1::Merge::Stub::MergeModels, request); },
         error, std::move(words)});
  }

  template <typename Change>
  void AddSearch(const std::string& label, Change change, const std::string& error,
                 std::vector<std::string> words) {
    v1::ListModelsRequest request;
    change(request);
    cases_.push_back(
        {"search: " + label,
         [this, request] { return Call(*server_.models, &v1::Models::Stub::ListModels, request); },
         error, std::move(words)});
  }

  std::vector<MalformedCase> cases_;
};

TEST_F(MalformedQueriesTest, Merges) {
  const std::string bad = "INVALID_ARGUMENT ";
  AddMerge("no method", [](auto& r) { r.clear_method(); }, bad + "BAD_METHOD",
           {"method: expected linear, task_arithmetic or ties, found none"});
  AddMerge("no base", [](auto& r) { r.clear_base(); }, bad + "BAD_BASE", {"base"});
  AddMerge("a base for linear",
           [](auto& r) {
             r.add_sources()->set_model("good");
             r.mutable_linear();
           },
           bad + "BAD_BASE", {"base"});
  AddMerge("no sources", [](auto& r) { r.clear_sources(); }, bad + "BAD_SOURCES", {"sources"});
  AddMerge("too many sources",
           [](auto& r) {
             while (r.sources_size() <= static_cast<int>(limits::kMaxMergeSources)) {
               r.add_sources()->set_model(absl::StrCat("m", r.sources_size()));
             }
           },
           bad + "BAD_SOURCES", {"sources", absl::StrCat(limits::kMaxMergeSources)});
  for (const double weight : {-1.0, kNan, kInfinity}) {
    AddMerge(absl::StrCat("weight ", weight),
             [=](auto& r) { r.mutable_sources(0)->set_weight(weight); }, bad + "BAD_WEIGHT",
             {"weight", absl::StrCat("found ", weight)});
  }
  for (const double density : {-1.0, 0.0, 1.5, kNan, kInfinity}) {
    AddMerge(absl::StrCat("density ", density),
             [=](auto& r) { r.mutable_ties()->set_density(density); }, bad + "BAD_DENSITY",
             {"density", absl::StrCat("found ", density)});
  }
  for (const double scale : {kNan, kInfinity, -kInfinity}) {
    AddMerge(absl::StrCat("scale of ties ", scale),
             [=](auto& r) { r.mutable_ties()->set_lambda_scale(scale); }, bad + "BAD_LAMBDA",
             {"lambda: expected a finite number, found"});
    AddMerge(absl::StrCat("scale of task arithmetic ", scale),
             [=](auto& r) { r.mutable_task_arithmetic()->set_lambda_scale(scale); },
             bad + "BAD_LAMBDA", {"lambda: expected a finite number, found"});
  }
  AddMerge("a source twice", [](auto& r) { r.add_sources()->set_model("tuned"); },
           bad + "MODEL_TWICE", {"tuned"});
  for (const char* name : {"", "a/b/c", ".a", "a b"}) {
    AddMerge(absl::StrCat("name ", name), [=](auto& r) { r.set_name(name); }, bad + "BAD_NAME",
             {"model name"});
  }
  for (const char* reference : {"id:1234", "sha256:1234567"}) {
    AddMerge(absl::StrCat("source ", reference),
             [=](auto& r) { r.mutable_sources(0)->set_model(reference); }, bad + "BAD_REFERENCE",
             {"model reference"});
    AddMerge(absl::StrCat("base ", reference), [=](auto& r) { r.set_base(reference); },
             bad + "BAD_REFERENCE", {"model reference"});
  }
  for (const char* missing : {"missing", "good@missing"}) {
    AddMerge(absl::StrCat("source ", missing),
             [=](auto& r) { r.mutable_sources(0)->set_model(missing); },
             "NOT_FOUND MODEL_NOT_FOUND", {missing});
    AddMerge(absl::StrCat("base ", missing), [=](auto& r) { r.set_base(missing); },
             "NOT_FOUND MODEL_NOT_FOUND", {missing});
  }
  AddMerge("the name is taken", [](auto& r) { r.set_name("good"); }, "ALREADY_EXISTS NAME_TAKEN",
           {"good"});
  AddMerge("long label", [](auto& r) { (*r.mutable_labels())["k"] = std::string(257, 'v'); },
           bad + "BAD_LABELS", {"label"});
  Run(cases_, 32);
}

TEST_F(MalformedQueriesTest, ComparisonsAndBlames) {
  for (const char* reference : {"", "id:1234", "sha256:1234567", "a b"}) {
    const std::string error = *reference == '\0' || std::string(reference) == "a b"
                                  ? "INVALID_ARGUMENT BAD_NAME"
                                  : "INVALID_ARGUMENT BAD_REFERENCE";
    for (const bool is_a : {true, false}) {
      cases_.push_back({absl::StrCat("diff ", is_a, " ", reference),
                        [this, is_a, reference] {
                          v1::DiffRequest request;
                          request.set_model_a(is_a ? reference : "good");
                          request.set_model_b(is_a ? "good" : reference);
                          grpc::ClientContext context;
                          return StatusOf<v1::DiffResponse>(
                              server_.compare->Diff(&context, request));
                        },
                        error,
                        {"model"}});
    }
    cases_.push_back({absl::StrCat("blame ", reference),
                      [this, reference] {
                        v1::BlameRequest request;
                        request.set_model(reference);
                        grpc::ClientContext context;
                        return StatusOf<v1::BlameResponse>(
                            server_.compare->Blame(&context, request));
                      },
                      error,
                      {"model"}});
  }
  for (const int order : {-1, 3, 77}) {
    cases_.push_back({absl::StrCat("order ", order),
                      [this, order] {
                        v1::DiffRequest request;
                        request.set_model_a("good");
                        request.set_model_b("tuned");
                        request.set_order(static_cast<v1::DiffRequest::Order>(order));
                        grpc::ClientContext context;
                        return StatusOf<v1::DiffResponse>(server_.compare->Diff(&context, request));
                      },
                      "INVALID_ARGUMENT BAD_ORDER",
                      {"order: expected", absl::StrCat("found ", order)}});
  }
  cases_.push_back({"blame of nobody",
                    [this] {
                      v1::BlameRequest request;
                      request.set_model("nobody");
                      grpc::ClientContext context;
                      return StatusOf<v1::BlameResponse>(server_.compare->Blame(&context, request));
                    },
                    "NOT_FOUND MODEL_NOT_FOUND",
                    {"nobody"}});
  Run(cases_, 16);
}

TEST_F(MalformedQueriesTest, SearchesAndLineage) {
  constexpr int64_t kPastLastYear = 253'402'300'800;  // of a Timestamp
  AddSearch("time too late", [](auto& r) { r.mutable_created_after()->set_seconds(kPastLastYear); },
            "INVALID_ARGUMENT BAD_TIME", {"created_after"});
  AddSearch("time too early",
            [](auto& r) { r.mutable_created_before()->set_seconds(-kPastLastYear); },
            "INVALID_ARGUMENT BAD_TIME", {"created_before"});
  AddSearch("nanoseconds", [](auto& r) { r.mutable_created_before()->set_nanos(1'000'000'000); },
            "INVALID_ARGUMENT BAD_TIME", {"created_before"});
  AddSearch("negative nanoseconds", [](auto& r) { r.mutable_created_after()->set_nanos(-1); },
            "INVALID_ARGUMENT BAD_TIME", {"created_after"});
  AddSearch("raw bytes",
            [](auto& r) {
              r.set_min_raw_bytes(2);
              r.set_max_raw_bytes(1);
            },
            "INVALID_ARGUMENT BAD_RANGE", {"raw_bytes"});
  AddSearch("stored bytes",
            [](auto& r) {
              r.set_min_stored_bytes(UINT64_MAX);
              r.set_max_stored_bytes(0);
            },
            "INVALID_ARGUMENT BAD_RANGE", {"stored_bytes"});
  for (const int count : {0, 1, 17}) {
    cases_.push_back({absl::StrCat("common ancestors of ", count),
                      [this, count] {
                        v1::CommonAncestorsRequest request;
                        for (int i = 0; i < count; ++i) request.add_models("good");
                        return Call(*server_.lineage, &v1::Lineage::Stub::CommonAncestors, request);
                      },
                      "INVALID_ARGUMENT BAD_MODEL_COUNT",
                      {"models: expected 2 to 16", absl::StrCat("found ", count)}});
  }
  Run(cases_, 9);
}

}  // namespace
}  // namespace wdelta::testing

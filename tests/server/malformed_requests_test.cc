// Malformed requests: names, references, page tokens, masks, enum values, ranges, rules.
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/rpc/page_token.h"
#include "storage/base/limits.h"
#include "tests/server/malformed_table.h"

namespace wdelta::testing {
namespace {

struct Wrong {
  std::string text;
  std::vector<std::string> words;
};

// No `model name`s.
std::vector<Wrong> WrongNames() {
  return {
      {"", {"model name", "expected at least one character, found none"}},
      {"a/b/c", {"model name", "'a/b/c'", "at most one '/'"}},
      {"/a", {"model name", "'/a'", "found none"}},
      {"a/", {"model name", "found none"}},
      {".a", {"model name", "must not start with '.' or '-'"}},
      {"-a", {"model name", "must not start with '.' or '-'"}},
      {"a..b", {"model name", "must not contain '..' or '--'"}},
      {"a--b", {"model name", "must not contain '..' or '--'"}},
      {"a b", {"model name", "'a b'", "expected only letters"}},
      {"a\nb", {"model name", "a\\nb", "expected only letters"}},
      {"a\\b", {"model name", "expected only letters"}},
      {"a:b", {"model name", "expected only letters"}},
      {"ä", {"model name", "expected only letters"}},
      {"a.git", {"model name", "must not end with '.git'"}},
      {"a/../b", {"model name", "at most one '/'"}},
      {"../b", {"model name", "must not start with"}},
      {std::string("a\0b", 3), {"model name", "a\\x00"}},
      {std::string(97, 'a'), {"model name", "expected at most 96 characters, found 97"}},
      {"a/" + std::string(97, 'b'), {"model name", "at most 96 characters, found 97"}},
      {std::string(100'000, 'a'), {"model name", "found 100000"}},
  };
}

std::vector<Wrong> WrongReferences() {
  const std::string bad = "model reference";
  return {
      {"sha256:", {bad, "8 to 64 lower-case hex digits"}},
      {"sha256:1234567", {bad, "8 to 64 lower-case hex digits"}},
      {"sha256:ABCDEF01", {bad, "8 to 64 lower-case hex digits"}},
      {"sha256:1234567g", {bad, "8 to 64 lower-case hex digits"}},
      {"sha256:" + std::string(65, 'a'), {bad, "8 to 64 lower-case hex digits"}},
      {"id:", {bad, "expected 26 characters"}},
      {"id:1234", {bad, "expected 26 characters"}},
      {"id:" + std::string(26, 'U'), {bad, "expected 26 characters"}},
      {"id:" + std::string(27, '0'), {bad, "expected 26 characters"}},
  };
}

TEST_F(MalformedInputTest, NamesAndReferences) {
  std::vector<MalformedCase> cases;
  const auto add = [&](const std::string& rpc, const Wrong& wrong, const std::string& reason,
                       std::function<grpc::Status()> call) {
    cases.push_back({absl::StrCat(rpc, " ", wrong.text.substr(0, 40), " of ", wrong.text.size()),
                     std::move(call), "INVALID_ARGUMENT " + reason, wrong.words});
  };
  for (const Wrong& wrong : WrongNames()) {
    add("StartUpload", wrong, "BAD_NAME", [this, wrong] {
      v1::StartUploadRequest request;
      request.set_name(wrong.text);
      return Call(*server_.uploads, &v1::Uploads::Stub::StartUpload, request);
    });
    add("SetTag", wrong, "BAD_NAME", [this, wrong] {
      v1::SetTagRequest request;
      request.set_name(wrong.text);
      request.set_tag("prod");
      request.set_model("good");
      return Call(*server_.models, &v1::Models::Stub::SetTag, request);
    });
  }
  std::vector<std::pair<Wrong, std::string>> references;
  for (const Wrong& wrong : WrongReferences()) references.emplace_back(wrong, "BAD_REFERENCE");
  for (const Wrong& wrong : WrongNames()) references.emplace_back(wrong, "BAD_NAME");
  references.emplace_back(Wrong{"good@", {"tag", "found none"}}, "BAD_TAG");
  references.emplace_back(Wrong{"good@a@b", {"tag 'a@b'"}}, "BAD_TAG");
  references.emplace_back(Wrong{"good@-x", {"tag '-x'", "must not start with"}}, "BAD_TAG");
  references.emplace_back(Wrong{"@prod", {"model name", "found none"}}, "BAD_NAME");
  for (const auto& [wrong, reason] : references) {
    const std::string text = wrong.text;
    add("GetModel", wrong, reason, [this, text] {
      v1::GetModelRequest request;
      request.set_model(text);
      return Call(*server_.models, &v1::Models::Stub::GetModel, request);
    });
    add("DeleteModel", wrong, reason, [this, text] {
      v1::DeleteModelRequest request;
      request.set_model(text);
      return Call(*server_.models, &v1::Models::Stub::DeleteModel, request);
    });
    add("FetchFile", wrong, reason,
        [this, text] { return server_.FetchFile(text, "config.json").status; });
    add("Traverse", wrong, reason, [this, text] {
      v1::TraverseRequest request;
      request.set_model(text);
      request.set_direction(v1::TraverseRequest::BOTH);
      return Call(*server_.lineage, &v1::Lineage::Stub::Traverse, request);
    });
    add("StartUpload with parent", wrong, reason, [this, text] {
      v1::StartUploadRequest request;
      request.set_name("child");
      request.add_parents()->set_model(text);
      return Call(*server_.uploads, &v1::Uploads::Stub::StartUpload, request);
    });
  }
  for (const Wrong& wrong : std::vector<Wrong>{{"", {"tag", "found none"}},
                                               {"a/b", {"tag 'a/b'", "expected only letters"}},
                                               {".x", {"tag '.x'", "must not start with"}},
                                               {std::string(97, 't'), {"tag", "found 97"}}}) {
    for (const bool is_set : {true, false}) {
      add(is_set ? "SetTag tag" : "DeleteTag", wrong, "BAD_TAG", [this, wrong, is_set] {
        v1::SetTagRequest set;
        set.set_name("good");
        set.set_tag(wrong.text);
        set.set_model("good");
        v1::DeleteTagRequest erase;
        erase.set_name("good");
        erase.set_tag(wrong.text);
        return is_set ? Call(*server_.models, &v1::Models::Stub::SetTag, set)
                      : Call(*server_.models, &v1::Models::Stub::DeleteTag, erase);
      });
    }
  }
  Run(cases, 200);
}

TEST_F(MalformedInputTest, ThingsThatAreNotThere) {
  std::vector<MalformedCase> cases;
  const std::string no_id = "0000000000000000000000000a";
  for (const std::string& reference :
       {std::string("missing"), std::string("good@missing"), "id:" + no_id,
        "sha256:" + std::string(64, '0'), std::string("sha256:00000000")}) {
    cases.push_back(
        {"model " + reference,
         [this, reference] { return server_.FetchFile(reference, "config.json").status; },
         "NOT_FOUND MODEL_NOT_FOUND",
         {reference.substr(0, 7)}});
  }
  for (const std::string& job : {std::string(), std::string("x"), no_id, std::string(5000, 'j')}) {
    for (const bool is_get : {true, false}) {
      cases.push_back({absl::StrCat(is_get ? "get" : "cancel", " job of ", job.size()),
                       [this, job, is_get] {
                         v1::GetJobRequest get;
                         get.set_job(job);
                         v1::CancelJobRequest cancel;
                         cancel.set_job(job);
                         return is_get ? Call(*server_.jobs, &v1::Jobs::Stub::GetJob, get)
                                       : Call(*server_.jobs, &v1::Jobs::Stub::CancelJob, cancel);
                       },
                       "NOT_FOUND JOB_NOT_FOUND",
                       {"job"}});
    }
  }
  for (const std::string& path : {std::string(), std::string("none"), std::string("../config.json"),
                                  std::string("/etc/passwd"), std::string("config.json/")}) {
    cases.push_back({"file " + path,
                     [this, path] { return server_.FetchFile("good", path).status; },
                     "NOT_FOUND FILE_NOT_FOUND",
                     {"has no file", "'" + path + "'"}});
  }
  Run(cases, 18);
}

// Of a request with fields `page_size` and `page_token`.
template <typename Request>
std::vector<Wrong> WrongTokens(const Request& request) {
  const std::string good = EncodePageToken(FiltersOf(request), "0000000000000000000000000a");
  std::string flipped = good;
  flipped[10] = flipped[10] == 'A' ? 'B' : 'A';
  return {
      {"x", {"page_token", "not a token of this server"}},
      {"AAAA", {"page_token", "not a token of this server"}},
      {"%%%%%%%%", {"page_token", "not a token of this server"}},
      {std::string(10'000, 'A'), {"page_token", "not a token of this server"}},
      {good.substr(0, good.size() - 4), {"page_token", "damaged"}},
      {flipped, {"page_token", "damaged"}},
      {EncodePageToken("of another listing", "0000000000000000000000000a"),
       {"page_token", "expected the filters of the request"}},
  };
}

TEST_F(MalformedInputTest, PageTokens) {
  std::vector<MalformedCase> cases;
  const auto add = [&](const std::string& rpc, auto request, auto call) {
    for (const Wrong& wrong : WrongTokens(request)) {
      request.set_page_token(wrong.text);
      cases.push_back({absl::StrCat(rpc, " ", wrong.text.substr(0, 60), wrong.text.size()),
                       [call, request] { return call(request); }, "INVALID_ARGUMENT BAD_PAGE_TOKEN",
                       wrong.words});
    }
  };
  add("ListModels", v1::ListModelsRequest(), [this](const auto& request) {
    return Call(*server_.models, &v1::Models::Stub::ListModels, request);
  });
  v1::ListTensorsRequest tensors;
  tensors.set_model("good");
  add("ListTensors", tensors, [this](const auto& request) {
    return Call(*server_.models, &v1::Models::Stub::ListTensors, request);
  });
  add("ListTags", v1::ListTagsRequest(), [this](const auto& request) {
    return Call(*server_.models, &v1::Models::Stub::ListTags, request);
  });
  add("ListUploads", v1::ListUploadsRequest(), [this](const auto& request) {
    return Call(*server_.uploads, &v1::Uploads::Stub::ListUploads, request);
  });
  add("ListJobs", v1::ListJobsRequest(), [this](const auto& request) {
    return Call(*server_.jobs, &v1::Jobs::Stub::ListJobs, request);
  });
  add("ListRetentionRules", v1::ListRetentionRulesRequest(), [this](const auto& request) {
    return Call(*server_.maintenance, &v1::Maintenance::Stub::ListRetentionRules, request);
  });
  v1::TraverseRequest traverse;
  traverse.set_model("good");
  traverse.set_direction(v1::TraverseRequest::BOTH);
  add("Traverse", traverse, [this](const auto& request) {
    return Call(*server_.lineage, &v1::Lineage::Stub::Traverse, request);
  });
  Run(cases, 49);
}

TEST_F(MalformedInputTest, EnumValuesMasksAndRanges) {
  std::vector<MalformedCase> cases;
  for (const int value : {-1, 0, 4, 99}) {
    cases.push_back({absl::StrCat("direction ", value),
                     [this, value] {
                       v1::TraverseRequest request;
                       request.set_model("good");
                       request.set_direction(static_cast<v1::TraverseRequest::Direction>(value));
                       return Call(*server_.lineage, &v1::Lineage::Stub::Traverse, request);
                     },
                     "INVALID_ARGUMENT BAD_DIRECTION",
                     {"direction: expected ANCESTORS", absl::StrCat("found ", value)}});
  }
  for (const int value : {-1, 0, 77}) {
    cases.push_back({absl::StrCat("state of a model ", value),
                     [this, value] {
                       v1::ListModelsRequest request;
                       request.add_states(static_cast<v1::Model::State>(value));
                       return Call(*server_.models, &v1::Models::Stub::ListModels, request);
                     },
                     "INVALID_ARGUMENT BAD_STATE",
                     {"states: expected states of a model", absl::StrCat("found ", value)}});
    cases.push_back({absl::StrCat("state of a job ", value),
                     [this, value] {
                       v1::ListJobsRequest request;
                       request.add_states(static_cast<v1::Job::State>(value));
                       return Call(*server_.jobs, &v1::Jobs::Stub::ListJobs, request);
                     },
                     "INVALID_ARGUMENT BAD_STATE",
                     {"states: expected states of a job", absl::StrCat("found ", value)}});
  }
  for (const char* field : {"name", "digest", "labels.x", "", "*", "Labels"}) {
    cases.push_back({absl::StrCat("mask ", field),
                     [this, field] {
                       v1::UpdateModelRequest request;
                       request.mutable_model()->set_id("good");
                       request.mutable_update_mask()->add_paths(field);
                       return Call(*server_.models, &v1::Models::Stub::UpdateModel, request);
                     },
                     "INVALID_ARGUMENT BAD_UPDATE_MASK",
                     {"update_mask: expected `labels` or `metadata`", absl::StrCat("`", field)}});
  }
  cases.push_back({"no mask",
                   [this] {
                     v1::UpdateModelRequest request;
                     request.mutable_model()->set_id("good");
                     return Call(*server_.models, &v1::Models::Stub::UpdateModel, request);
                   },
                   "INVALID_ARGUMENT BAD_UPDATE_MASK",
                   {"update_mask", "found nothing"}});
  for (const char* etag : {"x", "0", "-1", "99999999999999999999"}) {
    cases.push_back({absl::StrCat("etag ", etag),
                     [this, etag] {
                       v1::UpdateModelRequest request;
                       request.mutable_model()->set_id("good");
                       request.mutable_model()->set_etag(etag);
                       request.mutable_update_mask()->add_paths("labels");
                       return Call(*server_.models, &v1::Models::Stub::UpdateModel, request);
                     },
                     "ABORTED CONFLICT",
                     {"model.etag"}});
  }
  for (const uint64_t offset : {uint64_t{1000}, UINT64_MAX}) {
    cases.push_back({absl::StrCat("offset ", offset),
                     [this, offset] {
                       v1::FetchFileRequest request;
                       request.set_model("good");
                       request.set_path("config.json");
                       request.set_offset(offset);
                       return server_.FetchFile(request).status;
                     },
                     "OUT_OF_RANGE OFFSET_PAST_END",
                     {"config.json: expected an offset of at most", absl::StrCat(offset)}});
  }
  const auto patterns = [this](const std::vector<std::string>& all) {
    v1::FetchTensorsRequest request;
    request.set_model("good");
    for (const std::string& pattern : all) request.add_name_patterns(pattern);
    grpc::ClientContext context;
    const auto reader = server_.fetch->FetchTensors(&context, request);
    v1::FetchTensorsResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  };
  const std::string bad_pattern = "INVALID_ARGUMENT BAD_PATTERN";
  cases.push_back({"empty pattern",
                   [=] { return patterns({""}); },
                   bad_pattern,
                   {"name_patterns: expected a pattern, found an empty one"}});
  cases.push_back({"long pattern",
                   [=] { return patterns({std::string(1025, '*')}); },
                   bad_pattern,
                   {"name_patterns: expected at most 1024 bytes, found 1025"}});
  cases.push_back({"many patterns",
                   [=] { return patterns(std::vector<std::string>(1001, "x")); },
                   bad_pattern,
                   {"name_patterns: expected at most 1000, found 1001"}});
  cases.push_back({"long patterns together",
                   [=] { return patterns(std::vector<std::string>(65, std::string(1024, '*'))); },
                   bad_pattern,
                   {"expected at most 65536 bytes together, found 66560"}});
  cases.push_back({"no match",
                   [=] { return patterns({"nothing"}); },
                   "NOT_FOUND NO_TENSOR_MATCHES",
                   {"'good' has no tensor that matches"}});
  for (const int effort : {-1, 3, 99}) {
    cases.push_back({absl::StrCat("effort ", effort),
                     [this, effort] {
                       v1::RepackModelRequest request;
                       request.set_model("good");
                       request.set_effort(static_cast<v1::FidelityPolicy::Effort>(effort));
                       return Call(*server_.models, &v1::Models::Stub::RepackModel, request);
                     },
                     "INVALID_ARGUMENT BAD_FIDELITY",
                     {"effort: expected", absl::StrCat(effort)}});
  }
  cases.push_back({"backup in memory",
                   [this] {
                     grpc::ClientContext context;
                     const auto reader = server_.admin->Backup(&context, v1::BackupRequest());
                     v1::BackupResponse response;
                     EXPECT_FALSE(reader->Read(&response));
                     return reader->Finish();
                   },
                   "UNIMPLEMENTED NO_BACKUPS_HERE",
                   {"has no backups"}});
  Run(cases, 31);
}

TEST_F(MalformedInputTest, RetentionRules) {
  std::vector<MalformedCase> cases;
  const auto add = [&](const std::string& label, auto change, std::vector<std::string> words) {
    v1::SetRetentionRuleRequest request;
    request.mutable_rule()->set_name("rule");
    request.mutable_rule()->set_keep_last(1);
    change(*request.mutable_rule());
    cases.push_back({label,
                     [this, request] {
                       return Call(*server_.maintenance, &v1::Maintenance::Stub::SetRetentionRule,
                                   request);
                     },
                     "INVALID_ARGUMENT BAD_RULE", std::move(words)});
  };
  for (const char* name : {"", ".x", "a/b", "a b"}) {
    add(absl::StrCat("name ", name), [&](auto& rule) { rule.set_name(name); }, {"name"});
  }
  add("keep nothing", [](auto& rule) { rule.set_keep_last(0); },
      {"keep_last", "expected at least 1, found 0"});
  add("long pattern", [](auto& rule) { rule.set_name_pattern(std::string(257, '*')); },
      {"name_pattern", "at most 256 bytes"});
  add("long label", [](auto& rule) { rule.set_run_label(std::string(257, 'x')); },
      {"run_label", "at most 256 bytes"});
  Run(cases, 7);
}

}  // namespace
}  // namespace wdelta::testing

#include "server/auth/method_rules.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "wdelta/v1/admin.pb.h"
#include "wdelta/v1/compare.pb.h"
#include "wdelta/v1/fetch.pb.h"
#include "wdelta/v1/jobs.pb.h"
#include "wdelta/v1/lineage.pb.h"
#include "wdelta/v1/maintenance.pb.h"
#include "wdelta/v1/merge.pb.h"
#include "wdelta/v1/models.pb.h"
#include "wdelta/v1/uploads.pb.h"

namespace wdelta {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;
using ::testing::UnorderedElementsAreArray;

// All that the build compiles; a file that is not listed has no service, or the test of the
// server that calls every method fails.
std::vector<const MethodDescriptor*> AllMethods() {
  std::vector<const MethodDescriptor*> methods;
  for (const FileDescriptor* file :
       {v1::GetServerInfoRequest::descriptor()->file(), v1::DiffRequest::descriptor()->file(),
        v1::FetchFileRequest::descriptor()->file(), v1::GetJobRequest::descriptor()->file(),
        v1::TraverseRequest::descriptor()->file(), v1::StartGcRequest::descriptor()->file(),
        v1::MergeModelsRequest::descriptor()->file(), v1::GetModelRequest::descriptor()->file(),
        v1::StartUploadRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        methods.push_back(file->service(s)->method(m));
      }
    }
  }
  return methods;
}

std::string ShortName(const MethodDescriptor& method) {
  return absl::StrCat(method.service()->name(), ".", method.name());
}

// The string at a path; null: there is none.
const FieldDescriptor* StringAt(const Descriptor* message, absl::string_view path) {
  const FieldDescriptor* field = nullptr;
  for (const absl::string_view name : absl::StrSplit(path, '.')) {
    if (message == nullptr) return nullptr;
    field = message->FindFieldByName(std::string(name));
    if (field == nullptr) return nullptr;
    message = field->message_type();
  }
  return field->type() == FieldDescriptor::TYPE_STRING ? field : nullptr;
}

TEST(MethodRules, EveryMethodHasOne) {
  std::vector<std::string> methods;
  for (const MethodDescriptor* method : AllMethods()) methods.push_back(ShortName(*method));
  std::vector<std::string> rules;
  for (const MethodRule& rule : AllMethodRules()) rules.emplace_back(rule.method);
  EXPECT_GT(methods.size(), 40u);
  EXPECT_THAT(rules, UnorderedElementsAreArray(methods));
  EXPECT_EQ(FindMethodRule("Models.Nonsense"), nullptr);
}

TEST(MethodRules, PathsLeadToStrings) {
  for (const MethodDescriptor* method : AllMethods()) {
    const MethodRule* const rule = FindMethodRule(ShortName(*method));
    ASSERT_NE(rule, nullptr) << ShortName(*method);
    for (const Subject& subject : rule->subjects) {
      if (subject.path.empty()) continue;
      EXPECT_NE(StringAt(method->input_type(), subject.path), nullptr)
          << rule->method << " " << subject.path;
    }
    if (!rule->told.empty()) {
      EXPECT_NE(StringAt(method->output_type(), rule->told), nullptr) << rule->method;
    }
    if (rule->listed.list.empty()) continue;
    const FieldDescriptor* const list =
        method->output_type()->FindFieldByName(std::string(rule->listed.list));
    ASSERT_NE(list, nullptr) << rule->method;
    ASSERT_TRUE(list->is_repeated()) << rule->method;
    EXPECT_NE(StringAt(list->message_type(), rule->listed.name), nullptr) << rule->method;
  }
}

// Strings of requests by which models, uploads and jobs are called, in messages too.
void AddNaming(const Descriptor* message, const std::string& prefix, std::set<std::string>& out) {
  static const std::set<std::string> kNaming = {"model", "models", "model_a",    "model_b",
                                                "name",  "upload", "job",        "from",
                                                "to",    "base",   "held_models"};
  for (int i = 0; i < message->field_count(); ++i) {
    const FieldDescriptor* const field = message->field(i);
    if (field->type() == FieldDescriptor::TYPE_STRING && kNaming.count(field->name()) > 0) {
      out.insert(prefix + field->name());
    } else if (field->message_type() != nullptr && !field->is_map()) {
      AddNaming(field->message_type(), absl::StrCat(prefix, field->name(), "."), out);
    }
  }
}

TEST(MethodRules, WhatNamesAModelIsLookedAt) {
  // Parents are told by name with what was made from them; a model's id is looked at instead.
  const std::set<std::string> not_looked_at = {
      "Uploads.StartUpload parents.model",      "Uploads.StartUpload parents.name",
      "Models.UpdateModel model.parents.model", "Models.UpdateModel model.parents.name",
      "Models.UpdateModel model.name",          "Models.UpdateModel model.job"};
  for (const MethodDescriptor* method : AllMethods()) {
    const MethodRule& rule = *FindMethodRule(ShortName(*method));
    if (rule.needs_all_names) continue;
    std::set<std::string> naming;
    AddNaming(method->input_type(), "", naming);
    for (const Subject& subject : rule.subjects) naming.erase(std::string(subject.path));
    for (const std::string& path : naming) {
      EXPECT_EQ(not_looked_at.count(absl::StrCat(rule.method, " ", path)), 1u)
          << rule.method << ": " << path << " names a model, and its rule does not say so";
    }
  }
}

TEST(MethodRules, ListsAreShownInPart) {
  for (const MethodDescriptor* method : AllMethods()) {
    const MethodRule& rule = *FindMethodRule(ShortName(*method));
    const bool names_something = rule.subjects[0].kind != SubjectKind::kNone;
    EXPECT_TRUE(names_something || !rule.listed.list.empty() || rule.needs_all_names ||
                rule.scope == Scope::kAny)
        << rule.method << " is open to tokens that are for some names";
  }
}

TEST(MethodRules, ScopesFollowWhatAMethodDoes) {
  for (const MethodRule& rule : AllMethodRules()) {
    const std::vector<std::string> parts = absl::StrSplit(rule.method, '.');
    const bool reads = parts[0] == "Fetch" || parts[0] == "Lineage" || parts[0] == "Compare" ||
                       absl::string_view(parts[1]).substr(0, 4) == "List";
    EXPECT_TRUE(!reads || rule.scope == Scope::kRead) << rule.method;
  }
  for (const char* method : {"Maintenance.StartGc", "Maintenance.StartScrub", "Admin.Backup",
                             "Models.RepackModel", "Maintenance.SetRetentionRule"}) {
    EXPECT_EQ(FindMethodRule(method)->scope, Scope::kAdmin) << method;
  }
  for (const char* method : {"Models.DeleteModel", "Models.SetTag", "Merge.MergeModels",
                             "Uploads.StartUpload", "Uploads.WriteEntries"}) {
    EXPECT_EQ(FindMethodRule(method)->scope, Scope::kWrite) << method;
  }
}

TEST(MethodRules, OnlyWhatChangesSomethingIsAudited) {
  for (const char* const change :
       {"Models.SetTag", "Uploads.FinishUpload", "Maintenance.StartGc"}) {
    EXPECT_TRUE(FindMethodRule(change)->IsAudited()) << change;
  }
  for (const char* const read : {"Models.GetModel", "Uploads.GetUpload", "Uploads.FindContent",
                                 "Maintenance.PlanGc", "Admin.GetServerInfo"}) {
    EXPECT_FALSE(FindMethodRule(read)->IsAudited()) << read;
  }
}

}  // namespace
}  // namespace wdelta

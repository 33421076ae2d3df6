// The rules in the catalog.
#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/base/utf8.h"
#include "storage/catalog/keys.h"
#include "storage/catalog/maintenance_keys.h"
#include "storage/engine/gc/retention.h"
#include "storage/engine/records/names.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::RetentionRuleRecord;

absl::Status BadRule(absl::string_view field, absl::string_view problem) {
  return MakeError(absl::StatusCode::kInvalidArgument, "BAD_RULE",
                   absl::StrCat("retention rule: ", field, ": ", problem),
                   {{"field", std::string(field)}});
}

absl::Status ValidateRuleName(const std::string& name) {
  const absl::Status status = ValidateTag(name);
  return status.ok() ? status : BadRule("name", status.message());
}

absl::Status Validate(const RetentionRuleRecord& rule) {
  WDELTA_RETURN_IF_ERROR(ValidateRuleName(rule.name()));
  if (rule.keep_last() < 1) return BadRule("keep_last", "expected at least 1, found 0");
  const auto is_text = [](const std::string& text) {
    return text.size() <= limits::kMaxLabelBytes && IsValidUtf8(text);
  };
  if (!is_text(rule.name_pattern())) {
    return BadRule("name_pattern",
                   absl::StrCat("expected UTF-8 of at most ", limits::kMaxLabelBytes, " bytes"));
  }
  if (!is_text(rule.run_label())) {
    return BadRule("run_label",
                   absl::StrCat("expected UTF-8 of at most ", limits::kMaxLabelBytes, " bytes"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RetentionRuleRecord> RetentionRules::Set(RetentionRuleRecord rule) {
  WDELTA_RETURN_IF_ERROR(Validate(rule));
  rule.set_update_time_us(ToMicros(clock_->Now()));
  const std::string key = keys::Retention(rule.name());
  return RetryOnConflict([&]() -> absl::StatusOr<RetentionRuleRecord> {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Record> old, catalog_->Get(key));
    if (!old.has_value()) {
      WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                              ScanKeySuffixes(*catalog_, std::string(keys::kRetention)));
      if (names.size() >= limits::kMaxRetentionRules) {
        return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_RULES",
                         absl::StrCat("expected fewer than ", limits::kMaxRetentionRules,
                                      " retention rules, found ", names.size()));
      }
    }
    Commit commit;
    commit.Require(key, old.has_value() ? old->version : 0);
    commit.Write(key, rule.SerializeAsString());
    commit.Write(std::string(keys::kRetentionChange), "");
    WDELTA_RETURN_IF_ERROR(catalog_->Apply(commit).status());
    return rule;
  });
}

absl::StatusOr<uint64_t> RetentionRules::Version() {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Record> change,
                          catalog_->Get(keys::kRetentionChange));
  return change.has_value() ? change->version : 0;
}

absl::StatusOr<Page<RetentionRuleRecord>> RetentionRules::List(const std::string& after,
                                                               uint32_t limit) {
  const std::string prefix(keys::kRetention);
  const std::string begin = after.empty() ? prefix : keys::Retention(after) + '\0';
  WDELTA_ASSIGN_OR_RETURN(const ScanPage records,
                          catalog_->Scan({begin, PrefixEnd(prefix), limit, false}));
  Page<RetentionRuleRecord> page;
  for (const Record& record : records.records) {
    WDELTA_ASSIGN_OR_RETURN(auto parsed, ParseRecord<RetentionRuleRecord>(record));
    page.items.push_back(std::move(parsed.message));
  }
  if (records.more && !page.items.empty()) page.next = page.items.back().name();
  return page;
}

absl::Status RetentionRules::Delete(const std::string& name) {
  WDELTA_RETURN_IF_ERROR(ValidateRuleName(name));
  const std::string key = keys::Retention(name);
  return RetryOnConflict([&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Record> rule, catalog_->Get(key));
    if (!rule.has_value()) {
      return MakeError(absl::StatusCode::kNotFound, "RULE_NOT_FOUND",
                       absl::StrCat("no retention rule '", name, "'"));
    }
    Commit commit;
    commit.Require(key, rule->version).Erase(key);
    commit.Write(std::string(keys::kRetentionChange), "");
    return catalog_->Apply(commit).status();
  });
}

}  // namespace wdelta

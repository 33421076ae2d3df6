// The tags of Models, and what became of them.
#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/models/models.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::TagChangeRecord;
using store::v1::TagRecord;

absl::Status TagNotFound(absl::string_view name, absl::string_view tag) {
  return MakeError(absl::StatusCode::kNotFound, "TAG_NOT_FOUND",
                   absl::StrCat("no tag '", name, "@", tag, "'"));
}

absl::Status TagExists(absl::string_view name, absl::string_view tag) {
  return MakeError(absl::StatusCode::kAlreadyExists, "TAG_EXISTS",
                   absl::StrCat("model '", name, "' has a tag '", tag, "'"));
}

// `name@tag`, split: neither part holds an `@`.
std::pair<std::string, std::string> SplitTag(absl::string_view text) {
  return absl::StrSplit(text, absl::MaxSplits('@', 1));
}

}  // namespace

absl::Status Models::AddTagChange(absl::string_view name, absl::string_view tag,
                                  TagChangeRecord change, Commit& commit) {
  const std::string prefix = keys::TagHistoryPrefix(name, tag);
  WDELTA_ASSIGN_OR_RETURN(const ScanPage latest,
                          catalog_->Scan({prefix, PrefixEnd(prefix), 1, true}));
  uint64_t number = 0;
  if (!latest.records.empty() &&
      !absl::SimpleAtoi(latest.records[0].key.substr(prefix.size()), &number)) {
    return absl::DataLossError(absl::StrCat("catalog key ", latest.records[0].key, " is damaged"));
  }
  if (!change.from_model_id().empty() && change.from_name().empty()) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> from, GetById(change.from_model_id()));
    if (from.has_value()) change.set_from_name(from->record.name());
  }
  change.set_time_us(ToMicros(clock_->Now()));
  const std::string key = keys::TagHistory(name, tag, number + 1);
  commit.Require(key, 0).Write(key, change.SerializeAsString());
  return absl::OkStatus();
}

absl::StatusOr<Tag> Models::SetTag(absl::string_view name, absl::string_view tag,
                                   absl::string_view model_reference, absl::string_view author,
                                   bool must_be_new) {
  WDELTA_RETURN_IF_ERROR(ValidateName(name));
  WDELTA_RETURN_IF_ERROR(ValidateTag(tag));
  WDELTA_RETURN_IF_ERROR(ValidateAuthor(author));
  return RetryOnConflict([&]() -> absl::StatusOr<Tag> {
    WDELTA_ASSIGN_OR_RETURN(const Model model, Resolve(model_reference));
    const std::string& id = model.record.id();
    const std::string key = keys::Tag(name, tag);
    WDELTA_ASSIGN_OR_RETURN(const auto old, ReadRecord<TagRecord>(*catalog_, key));
    if (must_be_new && old.has_value()) return TagExists(name, tag);
    Tag made{std::string(name), std::string(tag), {}};
    made.record.set_model_id(id);
    made.record.set_update_time_us(ToMicros(clock_->Now()));
    Commit commit;
    // The model must still be live when the tag appears; written again, unchanged, so that
    // a deletion that has not seen the tag fails and looks again.
    const std::string model_key = keys::Model(id);
    commit.Require(model_key, model.version);
    commit.Write(model_key, model.record.SerializeAsString());
    commit.Require(key, old.has_value() ? old->version : 0);
    const std::string old_id = old.has_value() ? old->message.model_id() : "";
    if (old_id != id) {
      if (!old_id.empty()) commit.Erase(keys::Tagged(old_id, name, tag));
      TagChangeRecord change;
      change.set_from_model_id(old_id);
      change.set_to_model_id(id);
      change.set_to_name(model.record.name());
      change.set_reason(TagChangeRecord::SET);
      change.set_author(std::string(author));
      WDELTA_RETURN_IF_ERROR(AddTagChange(name, tag, std::move(change), commit));
    }
    commit.Write(keys::Tagged(id, name, tag), "");
    commit.Write(key, made.record.SerializeAsString());
    WDELTA_RETURN_IF_ERROR(catalog_->Apply(commit).status());
    return made;
  });
}

absl::Status Models::DeleteTag(absl::string_view name, absl::string_view tag,
                               absl::string_view author) {
  WDELTA_RETURN_IF_ERROR(ValidateName(name));
  WDELTA_RETURN_IF_ERROR(ValidateTag(tag));
  WDELTA_RETURN_IF_ERROR(ValidateAuthor(author));
  return RetryOnConflict([&]() -> absl::Status {
    const std::string key = keys::Tag(name, tag);
    WDELTA_ASSIGN_OR_RETURN(const auto old, ReadRecord<TagRecord>(*catalog_, key));
    if (!old.has_value()) return TagNotFound(name, tag);
    Commit commit;
    commit.Require(key, old->version).Erase(key);
    commit.Erase(keys::Tagged(old->message.model_id(), name, tag));
    TagChangeRecord change;
    change.set_from_model_id(old->message.model_id());
    change.set_reason(TagChangeRecord::TAG_DELETED);
    change.set_author(std::string(author));
    WDELTA_RETURN_IF_ERROR(AddTagChange(name, tag, std::move(change), commit));
    return catalog_->Apply(commit).status();
  });
}

absl::Status Models::AddDeletionOfTags(const ModelRecord& model, absl::string_view author,
                                       Commit& commit) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> tags, TagsOf(model.id()));
  for (const std::string& name_and_tag : tags) {
    const auto [name, tag] = SplitTag(name_and_tag);
    const std::string key = keys::Tag(name, tag);
    WDELTA_ASSIGN_OR_RETURN(const auto record, ReadRecord<TagRecord>(*catalog_, key));
    // Moved since TagsOf: not ours any more.
    if (!record.has_value() || record->message.model_id() != model.id()) continue;
    commit.Require(key, record->version).Erase(key);
    commit.Erase(keys::Tagged(model.id(), name, tag));
    TagChangeRecord change;
    change.set_from_model_id(model.id());
    change.set_from_name(model.name());
    change.set_reason(TagChangeRecord::MODEL_DELETED);
    change.set_author(std::string(author));
    WDELTA_RETURN_IF_ERROR(AddTagChange(name, tag, std::move(change), commit));
  }
  return absl::OkStatus();
}

absl::StatusOr<Page<Tag>> Models::ListTags(absl::string_view name, const std::string& after,
                                           uint32_t limit) {
  if (!name.empty()) WDELTA_RETURN_IF_ERROR(ValidateName(name));
  const std::string prefix = name.empty() ? std::string(keys::kTags) : keys::TagPrefix(name);
  const std::string begin = after.empty() ? prefix : absl::StrCat(keys::kTags, after) + '\0';
  WDELTA_ASSIGN_OR_RETURN(
      const ScanPage records,
      catalog_->Scan({std::max(begin, prefix), PrefixEnd(prefix), limit, false}));
  Page<Tag> page;
  for (const Record& record : records.records) {
    WDELTA_ASSIGN_OR_RETURN(auto parsed, ParseRecord<TagRecord>(record));
    auto [of_name, tag] = SplitTag(record.key.substr(keys::kTags.size()));
    page.items.push_back({std::move(of_name), std::move(tag), std::move(parsed.message)});
  }
  if (records.more && !page.items.empty()) {
    page.next = absl::StrCat(page.items.back().name, "@", page.items.back().tag);
  }
  return page;
}

absl::StatusOr<std::vector<TagChange>> Models::TagHistory(absl::string_view name,
                                                          absl::string_view tag, uint64_t after,
                                                          uint32_t limit) {
  WDELTA_RETURN_IF_ERROR(ValidateName(name));
  WDELTA_RETURN_IF_ERROR(ValidateTag(tag));
  const std::string prefix = keys::TagHistoryPrefix(name, tag);
  const std::string end = after == 0 ? PrefixEnd(prefix) : keys::TagHistory(name, tag, after);
  WDELTA_ASSIGN_OR_RETURN(const ScanPage records, catalog_->Scan({prefix, end, limit, true}));
  std::vector<TagChange> changes;
  for (const Record& record : records.records) {
    WDELTA_ASSIGN_OR_RETURN(auto parsed, ParseRecord<TagChangeRecord>(record));
    TagChange change{0, std::move(parsed.message)};
    if (!absl::SimpleAtoi(record.key.substr(prefix.size()), &change.number)) {
      return absl::DataLossError(absl::StrCat("catalog key ", record.key, " is damaged"));
    }
    changes.push_back(std::move(change));
  }
  if (changes.empty() && after == 0) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Record> current,
                            catalog_->Get(keys::Tag(name, tag)));
    if (!current.has_value()) return TagNotFound(name, tag);
  }
  return changes;
}

}  // namespace wdelta

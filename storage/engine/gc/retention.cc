#include "storage/engine/gc/retention.h"

#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/digest.h"
#include "storage/base/limits.h"
#include "storage/base/shell_pattern.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/catalog/maintenance_keys.h"
#include "storage/engine/gc/deleted_models.h"
#include "storage/engine/records/records.h"

namespace wdelta {
namespace {

using store::v1::LabelRunRecord;
using store::v1::ModelRecord;
using store::v1::NameRecord;
using store::v1::RetentionRuleRecord;

// The run of a name has no label.
struct RunKey {
  std::string label;
  std::string value;  // of the label, or the name
  friend auto operator<=>(const RunKey&, const RunKey&) = default;

  std::string Text() const { return label.empty() ? value : absl::StrCat(label, "=", value); }
};

class Finder {
 public:
  Finder(const JobDependencies& deps, const RetentionOptions& options)
      : deps_(deps), options_(options) {}

  absl::Status Run(const std::function<absl::Status(const ExpiredModel&)>& on_expired) {
    RetentionRules rules(deps_.catalog, deps_.clock);
    // Before the rules: a change in between is one after it.
    WDELTA_ASSIGN_OR_RETURN(const uint64_t rules_version, rules.Version());
    WDELTA_ASSIGN_OR_RETURN(const Page<RetentionRuleRecord> page,
                            rules.List("", limits::kMaxRetentionRules));
    if (page.items.empty()) return absl::OkStatus();
    WDELTA_RETURN_IF_ERROR(ForEachModel(*deps_.catalog, [&](const Model& model) {
      Sort(page.items, model);
      return options_.alive();
    }));
    for (const auto& [key, runs] : runs_) {
      for (const auto& [rule, ids] : runs) {
        WDELTA_RETURN_IF_ERROR(CompletePositions(key, ids));
        WDELTA_RETURN_IF_ERROR(Judge(page.items[rule], key, ids));
      }
    }
    for (ExpiredModel& expired : expired_) {
      if (kept_.contains(expired.model_id)) continue;
      expired.version = members_[expired.model_id].version;
      expired.newest_version = members_[expired.newest_id].version;
      expired.rules_version = rules_version;
      if (!told_.insert(expired.model_id).second) continue;  // by another rule
      WDELTA_RETURN_IF_ERROR(on_expired(expired));
    }
    return absl::OkStatus();
  }

 private:
  struct Member {
    std::string name;
    uint64_t version = 0;
    uint64_t stored_bytes = 0;
    std::map<std::string, uint64_t> positions;  // by the label of the run
  };

  // Into the runs of the rules that cover it.
  void Sort(const std::vector<RetentionRuleRecord>& rules, const Model& model) {
    const ModelRecord& record = model.record;
    if (record.state() != ModelRecord::READY) return;
    for (size_t i = 0; i < rules.size(); ++i) {
      const std::string& pattern = rules[i].name_pattern();
      if (!pattern.empty() && !MatchesPattern(pattern, record.name())) continue;
      const std::string& label = rules[i].run_label();
      const auto value = record.labels().find(label);
      if (!label.empty() && value == record.labels().end()) continue;
      const RunKey key{label, label.empty() ? record.name() : value->second};
      runs_[key][i].push_back(record.id());
      Member& member = members_[record.id()];
      member.name = record.name();
      member.version = model.version;
      member.stored_bytes = record.stored_bytes();
      const auto position = record.label_run_positions().find(label);
      if (label.empty() && record.run_position() > 0) {
        member.positions[label] = record.run_position();
      } else if (!label.empty() && position != record.label_run_positions().end()) {
        member.positions[label] = position->second;
      }
    }
  }

  // Gives the next positions to those that have none, in order of age.
  absl::Status CompletePositions(const RunKey& key, const std::vector<std::string>& ids) {
    uint64_t last = 0;
    bool is_last_known = false;
    for (const std::string& id : ids) {
      WDELTA_RETURN_IF_ERROR(options_.alive());
      Member& member = members_[id];
      if (member.positions.contains(key.label)) continue;
      if (!options_.dry_run) {
        WDELTA_RETURN_IF_ERROR(RetryOnConflict([&] { return GivePosition(key, id, member); }));
        continue;
      }
      if (!std::exchange(is_last_known, true)) {
        WDELTA_ASSIGN_OR_RETURN(const Counter counter, ReadCounter(key));
        last = counter.last;
      }
      member.positions[key.label] = ++last;
    }
    return absl::OkStatus();
  }

  struct Counter {
    uint64_t last = 0;
    uint64_t version = 0;
    NameRecord name;  // of the run of a name
  };

  static std::string CounterKeyOf(const RunKey& key) {
    if (key.label.empty()) return keys::Name(key.value);
    return keys::LabelRun(Digest::Of(absl::StrCat(key.label, "\n", key.value)).ToHex());
  }

  absl::StatusOr<Counter> ReadCounter(const RunKey& key) {
    Counter counter;
    if (key.label.empty()) {
      WDELTA_ASSIGN_OR_RETURN(const auto name,
                              ReadRecord<NameRecord>(*deps_.catalog, CounterKeyOf(key)));
      if (name.has_value()) counter = {name->message.last_position(), name->version, name->message};
      return counter;
    }
    WDELTA_ASSIGN_OR_RETURN(const auto run,
                            ReadRecord<LabelRunRecord>(*deps_.catalog, CounterKeyOf(key)));
    if (run.has_value()) counter = {run->message.last_position(), run->version, {}};
    return counter;
  }

  absl::Status GivePosition(const RunKey& key, const std::string& id, Member& member) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps_.models->GetById(id));
    // Deleted meanwhile: it counts no more, and its version says so.
    if (!model.has_value() || model->record.state() != ModelRecord::READY) return absl::OkStatus();
    WDELTA_ASSIGN_OR_RETURN(Counter counter, ReadCounter(key));
    const uint64_t position = counter.last + 1;
    ModelRecord record = model->record;
    Commit commit;
    commit.Require(CounterKeyOf(key), counter.version);
    if (key.label.empty()) {
      record.set_run_position(position);
      counter.name.set_last_position(position);
      commit.Write(CounterKeyOf(key), counter.name.SerializeAsString());
    } else {
      (*record.mutable_label_run_positions())[key.label] = position;
      LabelRunRecord run;
      run.set_label(key.label);
      run.set_value(key.value);
      run.set_last_position(position);
      commit.Write(CounterKeyOf(key), run.SerializeAsString());
    }
    commit.Require(keys::Model(id), model->version);
    commit.Write(keys::Model(id), record.SerializeAsString());
    WDELTA_ASSIGN_OR_RETURN(const uint64_t version, deps_.catalog->Apply(commit));
    // What changed since the look at it counts as a change still.
    if (member.version == model->version) member.version = version;
    member.positions[key.label] = position;
    return absl::OkStatus();
  }

  absl::Status Judge(const RetentionRuleRecord& rule, const RunKey& key,
                     const std::vector<std::string>& ids) {
    for (size_t i = 0; i < ids.size(); ++i) {
      const Member& member = members_[ids[i]];
      const auto found = member.positions.find(key.label);
      const uint64_t position = found == member.positions.end() ? 0 : found->second;
      bool is_kept = ids.size() - i <= rule.keep_last() ||
                     (rule.keep_every() > 0 && position % rule.keep_every() == 0);
      if (!is_kept && !rule.delete_tagged()) {
        WDELTA_ASSIGN_OR_RETURN(is_kept, AnyWithPrefix(*deps_.catalog, keys::TaggedPrefix(ids[i])));
      }
      if (is_kept) {
        kept_.insert(ids[i]);
        continue;
      }
      ExpiredModel& expired = expired_.emplace_back();
      expired.model_id = ids[i];
      expired.name = member.name;
      expired.stored_bytes = member.stored_bytes;
      expired.rule = rule.name();
      expired.run = key.Text();
      expired.position = position;
      expired.newest_id = ids.back();
    }
    return absl::OkStatus();
  }

  const JobDependencies& deps_;
  const RetentionOptions& options_;
  std::map<std::string, Member> members_;                              // by id
  std::map<RunKey, std::map<size_t, std::vector<std::string>>> runs_;  // ids by rule, by age
  std::vector<ExpiredModel> expired_;
  std::set<std::string> kept_;
  std::set<std::string> told_;
};

}  // namespace

absl::Status FindExpired(const JobDependencies& deps, const RetentionOptions& options,
                         const std::function<absl::Status(const ExpiredModel&)>& on_expired) {
  return Finder(deps, options).Run(on_expired);
}

absl::StatusOr<bool> DeleteExpired(Models& models, const ExpiredModel& expired) {
  WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, models.GetById(expired.model_id));
  if (!model.has_value() || model->version != expired.version) return false;
  const absl::Status deleted =
      models.DeleteAs(*model, {{keys::Model(expired.newest_id), expired.newest_version},
                               {std::string(keys::kRetentionChange), expired.rules_version}});
  if (absl::IsAborted(deleted)) return false;
  WDELTA_RETURN_IF_ERROR(deleted);
  return true;
}

}  // namespace wdelta

#include "storage/engine/scrub/scrub.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/gc/deleted_models.h"
#include "storage/engine/jobs/rewrite.h"
#include "storage/engine/jobs/stored_delta.h"
#include "storage/engine/queue/job_failure.h"
#include "storage/engine/records/records.h"
#include "storage/engine/scrub/damage.h"
#include "storage/engine/scrub/repair_source.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;
using store::v1::ScrubDamage;
using store::v1::ScrubReport;

constexpr int kMaxReported = 200;         // damaged models
constexpr size_t kMaxReportedSpans = 16;  // of each
constexpr size_t kMaxReportedBlobs = 16;  // of each
constexpr int kMaxReportedAffected = 50;  // of each

bool HasContent(const ModelRecord& model) {
  return model.delta_pieces_size() > 0 || !model.staging_id().empty();
}

class Scrub {
 public:
  Scrub(const JobDependencies& deps, JobContext& context)
      : deps_(deps), context_(context), report_(context.scrub_report()) {}

  absl::Status Run() {
    report_.Clear();
    WDELTA_RETURN_IF_ERROR(SetTotal());
    WDELTA_RETURN_IF_ERROR(ForEachContent([this](const ModelRecord& m) { return CheckBlobs(m); }));
    for (auto& [id, damage] : damaged_) WDELTA_RETURN_IF_ERROR(FindAffected(id, damage));
    WDELTA_RETURN_IF_ERROR(
        ForEachContent([this](const ModelRecord& m) { return CheckContent(m); }));
    if (context_.job().record.repair()) {
      for (ScrubDamage& damage : *report_.mutable_damages()) {
        WDELTA_RETURN_IF_ERROR(Repair(damage));
      }
    }
    return context_.Save();
  }

 private:
  absl::Status ForEachContent(const std::function<absl::Status(const ModelRecord&)>& visit) {
    return ForEachModel(*deps_.catalog, [&](const Model& model) {
      return HasContent(model.record) ? visit(model.record) : absl::OkStatus();
    });
  }

  absl::Status SetTotal() {
    uint64_t total_bytes = 0;
    WDELTA_RETURN_IF_ERROR(ForEachContent([&](const ModelRecord& model) {
      total_bytes += model.stored_bytes() + model.raw_bytes();
      return absl::OkStatus();
    }));
    context_.SetTotal(total_bytes);
    return absl::OkStatus();
  }

  // Whether the model is still stored as it was; otherwise what was found says nothing.
  absl::StatusOr<bool> IsAsItWas(const ModelRecord& model) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> found, deps_.models->GetById(model.id()));
    return found.has_value() && found->record.delta_digest() == model.delta_digest() &&
           found->record.staging_id() == model.staging_id() &&
           found->record.delta_pieces_size() == model.delta_pieces_size();
  }

  absl::Status CheckBlobs(const ModelRecord& model) {
    report_.set_model_count(report_.model_count() + 1);
    if (model.delta_pieces_size() == 0) return absl::OkStatus();
    report_.set_blob_count(report_.blob_count() + model.delta_pieces_size());
    report_.set_blob_bytes(report_.blob_bytes() + model.stored_bytes());
    WDELTA_ASSIGN_OR_RETURN(Damage damage, FindDamage(*deps_.reader, model, [this](uint64_t bytes) {
                              return context_.Advance(bytes);
                            }));
    if (!damage.any()) return absl::OkStatus();
    WDELTA_ASSIGN_OR_RETURN(const bool is_valid, IsAsItWas(model));
    if (!is_valid) return absl::OkStatus();
    ScrubDamage* entry = Report(model, damage.problem);
    if (entry != nullptr) {
      entry->set_blob_count(damage.blobs.size());
      for (size_t i = 0; i < std::min(damage.blobs.size(), kMaxReportedBlobs); ++i) {
        *entry->add_blob_digests() = damage.blobs[i].ToBytes();
      }
      entry->set_is_total(damage.is_total);
      entry->set_lost_chunk_count(damage.spans.size());
      const auto opened = WdeltaReader::Open(deps_.reader->OpenDelta(model));
      if (opened.ok()) {
        for (std::string& line :
             DescribeSpans((*opened)->file(), damage.spans, kMaxReportedSpans)) {
          entry->add_lost(std::move(line));
        }
      }
    }
    damaged_.emplace(model.id(), std::move(damage));
    return absl::OkStatus();
  }

  // Null when there are too many to be listed.
  ScrubDamage* Report(const ModelRecord& model, absl::string_view problem) {
    report_.set_damage_count(report_.damage_count() + 1);
    if (report_.damages_size() == kMaxReported) return nullptr;
    ScrubDamage* entry = report_.add_damages();
    entry->set_model_id(model.id());
    entry->set_model_name(model.name());
    entry->set_problem(std::string(problem));
    return entry;
  }

  // Follows the damage through everything that is stored against the model: a tree, since
  // each is stored against one.
  absl::Status FindAffected(const std::string& id, const Damage& damage) {
    if (!damage.loses_content()) return absl::OkStatus();
    struct Step {
      std::string id;
      std::shared_ptr<const std::vector<LostSpan>> spans;  // null: all
    };
    std::vector<Step> steps = {
        {id, damage.is_total ? nullptr : std::make_shared<std::vector<LostSpan>>(damage.spans)}};
    std::vector<std::string> affected;
    while (!steps.empty()) {
      const Step step = std::move(steps.back());
      steps.pop_back();
      affected.push_back(step.id);
      WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> children,
                              ScanKeySuffixes(*deps_.catalog, keys::EncodedOnPrefix(step.id)));
      for (const std::string& child_id : children) {
        WDELTA_RETURN_IF_ERROR(context_.Advance(0));
        WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> child, deps_.models->GetById(child_id));
        if (!child.has_value() || child->record.delta_pieces_size() == 0) continue;
        if (step.spans == nullptr) {
          steps.push_back({child_id, nullptr});
          continue;
        }
        const auto opened = WdeltaReader::Open(deps_.reader->OpenDelta(child->record));
        if (!opened.ok()) continue;  // is damaged itself
        auto spans = std::make_shared<std::vector<LostSpan>>(SpansThatNeed(**opened, *step.spans));
        if (!spans->empty()) steps.push_back({child_id, std::move(spans)});
      }
    }
    affected_.insert(affected.begin(), affected.end());
    ScrubDamage* entry = EntryOf(id);
    if (entry == nullptr) return absl::OkStatus();
    std::sort(affected.begin(), affected.end());
    return ListAffected(affected, *entry);
  }

  absl::Status ListAffected(const std::vector<std::string>& ids, ScrubDamage& entry) {
    for (const std::string& id : ids) {
      WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps_.models->GetById(id));
      if (!model.has_value() || model->record.state() == ModelRecord::DELETED) continue;
      entry.set_affected_count(entry.affected_count() + 1);
      if (entry.affected_size() == kMaxReportedAffected) continue;
      store::v1::ScrubDamage::Affected* listed = entry.add_affected();
      listed->set_model_id(id);
      listed->set_model_name(model->record.name());
    }
    return absl::OkStatus();
  }

  ScrubDamage* EntryOf(const std::string& id) {
    for (ScrubDamage& damage : *report_.mutable_damages()) {
      if (damage.model_id() == id) return &damage;
    }
    return nullptr;
  }

  // Decodes the model, or reads its staged files, and compares the digests of its files.
  absl::Status CheckContent(const ModelRecord& model) {
    if (affected_.contains(model.id()) || damaged_.contains(model.id())) return absl::OkStatus();
    const bool is_served = !model.digest().empty() && model.state() != ModelRecord::DELETED;
    if (!is_served) return context_.Advance(model.raw_bytes());
    const absl::Status status =
        model.delta_pieces_size() > 0 ? VerifyDelta(deps_, context_, model) : CheckStaged(model);
    if (EndsJob(status)) return status;
    if (status.ok()) return context_.Advance(model.raw_bytes());
    WDELTA_ASSIGN_OR_RETURN(const bool is_valid, IsAsItWas(model));
    if (!is_valid) return absl::OkStatus();
    Damage damage;
    damage.is_total = true;
    damage.problem = std::string(status.message());
    if (ScrubDamage* entry = Report(model, damage.problem)) entry->set_is_total(true);
    WDELTA_RETURN_IF_ERROR(FindAffected(model.id(), damage));
    damaged_.emplace(model.id(), std::move(damage));
    return absl::OkStatus();
  }

  absl::Status CheckStaged(const ModelRecord& model) {
    std::string buffer;
    for (const store::v1::FileRecord& described : model.files()) {
      Sha256Hasher hasher;
      if (described.size_bytes() > 0) {
        WDELTA_ASSIGN_OR_RETURN(const auto file, deps_.staging->OpenForRead(
                                                     model.staging_id(), described.staged_entry()));
        for (uint64_t offset = 0; offset < described.size_bytes(); offset += buffer.size()) {
          buffer.resize(std::min(limits::kChunkBytes, described.size_bytes() - offset));
          WDELTA_RETURN_IF_ERROR(file->Read(offset, buffer.data(), buffer.size()));
          hasher.Update(buffer);
          WDELTA_RETURN_IF_ERROR(context_.Advance(0));
        }
      }
      if (hasher.Current().ToBytes() == described.sha256()) continue;
      return absl::DataLossError(absl::StrCat(
          "uploaded file ", described.path(), ": expected SHA-256 ",
          absl::BytesToHexString(described.sha256()), ", found ", hasher.Current().ToHex()));
    }
    return absl::OkStatus();
  }

  absl::Status Repair(ScrubDamage& damage) {
    const std::string owner = RepackOwner(damage.model_id(), context_.job().record.id());
    const absl::Status status = TryRepair(damage.model_id(), owner);
    if (EndsJob(status)) return status;
    if (!status.ok()) WDELTA_RETURN_IF_ERROR(ReleaseFailedForm(deps_, damage.model_id(), owner));
    damage.set_is_repaired(status.ok());
    damage.set_repair_note(std::string(status.message()));
    if (status.ok()) report_.set_repaired_count(report_.repaired_count() + 1);
    return context_.Advance(0);
  }

  absl::Status TryRepair(const std::string& id, const std::string& owner) {
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model, deps_.models->GetById(id));
    if (!model.has_value() || model->record.delta_pieces_size() == 0) {
      return absl::FailedPreconditionError("not stored any more, or not yet compressed");
    }
    if (model->record.state() != ModelRecord::READY) {
      return absl::FailedPreconditionError(
          "deleted; a repack or gc of the models that need it may help");
    }
    RewriteRequest request;
    request.model_id = id;
    request.owner = owner;
    WDELTA_ASSIGN_OR_RETURN(request.source,
                            ComposeRepairSource(deps_, model->record, [this](uint64_t bytes) {
                              return context_.Advance(bytes);
                            }));
    request.is_small_enough = [](const RewriteOutcome&) { return true; };
    request.add_to_commit = [this](const ModelRecord& record, Commit& commit) -> absl::Status {
      WDELTA_ASSIGN_OR_RETURN(const Job held, context_.Held());
      commit.Require(keys::Job(held.record.id()), held.version);
      deps_.queue->AddTo(commit, store::v1::JobRecord::RECLAIM, record);
      return absl::OkStatus();
    };
    return RewriteModel(deps_, context_, request).status();
  }

  const JobDependencies& deps_;
  JobContext& context_;
  ScrubReport& report_;
  std::map<std::string, Damage> damaged_;
  absl::flat_hash_set<std::string> affected_;
};

}  // namespace

absl::Status RunScrub(const JobDependencies& deps, JobContext& context) {
  return Scrub(deps, context).Run();
}

}  // namespace wdelta

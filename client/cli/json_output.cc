#include "client/cli/json_output.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/fidelity_text.h"
#include "client/cli/relation_words.h"

namespace wdelta {
namespace {

Json TimeJson(bool is_set, const google::protobuf::Timestamp& time) {
  if (!is_set) return nullptr;
  const absl::Time absolute =
      absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
  return absl::FormatTime(absl::RFC3339_full, absolute, absl::UTCTimeZone());
}

template <typename Map>
Json MapJson(const Map& map) {
  // In order of key: protobuf maps have none.
  nlohmann::json sorted = nlohmann::json::object();
  for (const auto& [key, value] : map) sorted[key] = value;
  Json json = Json::object();
  for (const auto& [key, value] : sorted.items()) json[key] = value.template get<std::string>();
  return json;
}

template <typename List>
Json ListJson(const List& list) {
  Json json = Json::array();
  for (const auto& item : list) json.push_back(item);
  return json;
}

Json ParentJson(const v1::Parent& parent) {
  return {{"model", parent.model()},
          {"name", parent.name()},
          {"relation", RelationWord(parent.relation())},
          {"metadata", MapJson(parent.metadata())}};
}

Json LineageCheckJson(const v1::LineageCheck& check) {
  return {{"doubtful_parents", ListJson(check.doubtful_parents())},
          {"suggested_parent", check.suggested_parent()},
          {"suggested_parent_name", check.suggested_parent_name()}};
}

}  // namespace

Json ModelJson(const v1::Model& model) {
  Json json = {
      {"id", absl::StrCat("id:", model.id())},
      {"name", model.name()},
      {"digest", model.digest()},
      {"state", StateWord(model.state())},
      {"parents", Json::array()},
      {"labels", MapJson(model.labels())},
      {"metadata", MapJson(model.metadata())},
      {"fidelity", PolicyJson(model.fidelity())},
      {"fidelity_outcome",
       model.has_fidelity_outcome() ? OutcomeJson(model.fidelity_outcome()) : Json(nullptr)},
      {"raw_bytes", model.raw_bytes()},
      {"stored_bytes", model.stored_bytes()},
      {"file_count", model.file_count()},
      {"tensor_count", model.tensor_count()},
      {"parameter_count", model.parameter_count()},
      {"create_time", TimeJson(model.has_create_time(), model.create_time())},
      {"ready_time", TimeJson(model.has_ready_time(), model.ready_time())},
      {"storage",
       {{"parent", model.storage().parent()},
        {"depth", model.storage().depth()},
        {"delta_digest", model.storage().delta_digest()},
        {"fetch_cost", model.storage().fetch_cost()}}},
      {"lineage_check", LineageCheckJson(model.lineage_check())},
      {"job", model.job()},
      {"repack_job", model.repack_job()},
      {"error", model.error()},
      {"etag", model.etag()}};
  for (const v1::Parent& parent : model.parents()) json["parents"].push_back(ParentJson(parent));
  if (model.files().empty()) return json;
  json["tags"] = ListJson(model.tags());
  for (const v1::File& file : model.files()) {
    json["files"].push_back({{"path", file.path()},
                             {"size_bytes", file.size_bytes()},
                             {"sha256", file.sha256()},
                             {"is_safetensors", file.is_safetensors()}});
  }
  return json;
}

Json ExplanationJson(const v1::StorageExplanation& explanation) {
  Json json = {
      {"model", explanation.model()},
      {"name", explanation.name()},
      {"candidates", Json::array()},
      {"chosen", explanation.candidates().empty() ? Json(nullptr) : Json(explanation.chosen())},
      {"max_chain_depth", explanation.max_chain_depth()},
      {"max_fetch_cost", explanation.max_fetch_cost()},
      {"choose_time", TimeJson(explanation.has_choose_time(), explanation.choose_time())},
      {"storage",
       {{"parent", explanation.storage().parent()},
        {"depth", explanation.storage().depth()},
        {"delta_digest", explanation.storage().delta_digest()},
        {"fetch_cost", explanation.storage().fetch_cost()}}},
      {"raw_bytes", explanation.raw_bytes()},
      {"stored_bytes", explanation.stored_bytes()},
      {"lineage_check", LineageCheckJson(explanation.lineage_check())}};
  for (const v1::StorageCandidate& candidate : explanation.candidates()) {
    json["candidates"].push_back({{"model", candidate.model()},
                                  {"name", candidate.name()},
                                  {"source", SourceWord(candidate.source())},
                                  {"estimated_bytes", candidate.estimated_bytes()},
                                  {"depth", candidate.depth()},
                                  {"fetch_cost", candidate.fetch_cost()},
                                  {"refusal", RefusalWord(candidate.refusal())}});
  }
  return json;
}

Json TensorJson(const v1::Tensor& tensor) {
  return {{"name", tensor.name()},
          {"dtype", tensor.dtype()},
          {"shape", ListJson(tensor.shape())},
          {"file", tensor.file()},
          {"file_offset_bytes", tensor.file_offset_bytes()},
          {"size_bytes", tensor.size_bytes()},
          {"stored_bytes", tensor.storage().stored_bytes()},
          {"fidelity", TensorFidelityJson(tensor.storage())}};
}

Json TagJson(const v1::Tag& tag) {
  return {{"name", tag.name()},
          {"tag", tag.tag()},
          {"model", tag.model()},
          {"update_time", TimeJson(tag.has_update_time(), tag.update_time())}};
}

Json TagChangeJson(const v1::TagChange& change) {
  return {{"from_model", change.from_model()},
          {"from_name", change.from_name()},
          {"to_model", change.to_model()},
          {"to_name", change.to_name()},
          {"change_time", TimeJson(change.has_change_time(), change.change_time())},
          {"reason", ReasonWord(change.reason())},
          {"author", change.author()}};
}

Json PathStepJson(const v1::PathStep& step) {
  const std::string hop = absl::AsciiStrToLower(v1::PathStep::Hop_Name(step.hop()));
  return {{"node", LineageNodeJson(step.node())},
          {"hop", step.hop() == v1::PathStep::HOP_UNSPECIFIED ? Json(nullptr) : Json(hop)},
          {"edge", step.has_edge() ? ParentJson(step.edge()) : Json(nullptr)}};
}

Json CommonAncestorJson(const v1::CommonAncestor& ancestor) {
  return {{"node", LineageNodeJson(ancestor.node())}, {"depths", ListJson(ancestor.depths())}};
}

Json LineageNodeJson(const v1::LineageNode& node) {
  return {
      {"model", ModelJson(node.model())},
      {"depth", node.depth()},
      {"direction", absl::AsciiStrToLower(v1::TraverseRequest::Direction_Name(node.direction()))},
      {"deleted", node.deleted()}};
}

Json GcReportJson(const v1::GcReport& report) {
  Json problems = Json::array();
  for (const std::string& problem : report.problems()) problems.push_back(problem);
  return {
      {"freed_bytes", report.freed_bytes()},       {"written_bytes", report.written_bytes()},
      {"models_deleted", report.models_deleted()}, {"models_rewritten", report.models_rewritten()},
      {"models_freed", report.models_freed()},     {"models_kept", report.models_kept()},
      {"models_in_use", report.models_in_use()},   {"orphan_blobs", report.orphan_blobs()},
      {"orphan_claims", report.orphan_claims()},   {"orphan_uploads", report.orphan_uploads()},
      {"old_records", report.old_records()},       {"problems", std::move(problems)}};
}

Json ScrubReportJson(const v1::ScrubReport& report) {
  Json damages = Json::array();
  for (const v1::ScrubDamage& damage : report.damages()) {
    Json affected = Json::array();
    for (const v1::ScrubDamage::Affected& model : damage.affected()) {
      affected.push_back({{"model", model.model()}, {"name", model.name()}});
    }
    damages.push_back({{"model", damage.model()},
                       {"name", damage.name()},
                       {"problem", damage.problem()},
                       {"blobs", ListJson(damage.blobs())},
                       {"is_total", damage.is_total()},
                       {"lost_chunk_count", damage.lost_chunk_count()},
                       {"lost", ListJson(damage.lost())},
                       {"affected_count", damage.affected_count()},
                       {"affected", std::move(affected)},
                       {"is_repaired", damage.is_repaired()},
                       {"repair_note", damage.repair_note()}});
  }
  return {{"model_count", report.model_count()},       {"blob_count", report.blob_count()},
          {"blob_bytes", report.blob_bytes()},         {"damage_count", report.damage_count()},
          {"repaired_count", report.repaired_count()}, {"damages", std::move(damages)}};
}

Json JobJson(const v1::Job& job) {
  Json json = {{"id", job.id()},
               {"kind", KindWord(job.kind())},
               {"state", StateWord(job.state())},
               {"model", job.model()},
               {"model_name", job.model_name()},
               {"attempts", job.attempts()},
               {"done_bytes", job.done_bytes()},
               {"total_bytes", job.total_bytes()},
               {"error", job.error()},
               {"create_time", TimeJson(job.has_create_time(), job.create_time())},
               {"update_time", TimeJson(job.has_update_time(), job.update_time())}};
  if (job.has_gc_report()) json["gc_report"] = GcReportJson(job.gc_report());
  if (job.has_scrub_report()) json["scrub_report"] = ScrubReportJson(job.scrub_report());
  return json;
}

Json ServerInfoJson(const v1::ServerInfo& info) {
  const v1::Limits& limits = info.limits();
  return {{"version", info.version()},
          {"data_format_version", info.data_format_version()},
          {"wdelta_version", info.wdelta_version()},
          {"readable_wdelta_versions", ListJson(info.readable_wdelta_versions())},
          {"capabilities", ListJson(info.capabilities())},
          {"limits",
           {{"max_piece_bytes", limits.max_piece_bytes()},
            {"max_entries_per_upload", limits.max_entries_per_upload()},
            {"max_open_uploads", limits.max_open_uploads()},
            {"max_page_size", limits.max_page_size()},
            {"max_parents", limits.max_parents()},
            {"max_file_bytes", limits.max_file_bytes()}}},
          {"model_count", info.model_count()},
          {"raw_bytes", info.raw_bytes()},
          {"stored_bytes", info.stored_bytes()},
          {"disk",
           {{"free_bytes", info.disk().free_bytes()},
            {"min_free_bytes", info.disk().min_free_bytes()},
            {"reserved_bytes", info.disk().reserved_bytes()},
            {"is_full", info.disk().is_full()}}}};
}

std::string StateWord(v1::Model::State state) {
  return absl::AsciiStrToLower(v1::Model::State_Name(state));
}
std::string StateWord(v1::Job::State state) {
  return absl::AsciiStrToLower(v1::Job::State_Name(state));
}
std::string KindWord(v1::Job::Kind kind) { return absl::AsciiStrToLower(v1::Job::Kind_Name(kind)); }
std::string SourceWord(v1::StorageCandidate::Source source) {
  return absl::AsciiStrToLower(v1::StorageCandidate::Source_Name(source));
}
std::string RefusalWord(v1::StorageCandidate::Refusal refusal) {
  if (refusal == v1::StorageCandidate::NOT_REFUSED) return "";
  return absl::AsciiStrToLower(v1::StorageCandidate::Refusal_Name(refusal));
}
std::string ReasonWord(v1::TagChange::Reason reason) {
  return absl::AsciiStrToLower(v1::TagChange::Reason_Name(reason));
}

}  // namespace wdelta

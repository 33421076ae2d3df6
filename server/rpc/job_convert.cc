// Jobs and their reports; see convert.h.
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/rpc/convert.h"

namespace wdelta {

v1::ScrubReport ToProto(const store::v1::ScrubReport& report) {
  v1::ScrubReport out;
  out.set_model_count(report.model_count());
  out.set_blob_count(report.blob_count());
  out.set_blob_bytes(report.blob_bytes());
  out.set_damage_count(report.damage_count());
  out.set_repaired_count(report.repaired_count());
  for (const store::v1::ScrubDamage& damage : report.damages()) {
    v1::ScrubDamage& entry = *out.add_damages();
    entry.set_model(IdReference(damage.model_id()));
    entry.set_name(damage.model_name());
    entry.set_problem(damage.problem());
    entry.set_blob_count(damage.blob_count());
    for (const std::string& digest : damage.blob_digests()) {
      entry.add_blobs(absl::StrCat("sha256:", absl::BytesToHexString(digest)));
    }
    entry.set_is_total(damage.is_total());
    entry.set_lost_chunk_count(damage.lost_chunk_count());
    *entry.mutable_lost() = damage.lost();
    entry.set_affected_count(damage.affected_count());
    for (const store::v1::ScrubDamage::Affected& affected : damage.affected()) {
      v1::ScrubDamage::Affected& listed = *entry.add_affected();
      listed.set_model(IdReference(affected.model_id()));
      listed.set_name(affected.model_name());
    }
    entry.set_is_repaired(damage.is_repaired());
    entry.set_repair_note(damage.repair_note());
  }
  return out;
}

v1::GcReport ToProto(const store::v1::GcReport& report) {
  v1::GcReport out;
  out.set_freed_bytes(report.freed_bytes());
  out.set_written_bytes(report.written_bytes());
  out.set_models_deleted(report.models_deleted());
  out.set_models_rewritten(report.models_rewritten());
  out.set_models_freed(report.models_freed());
  out.set_models_kept(report.models_kept());
  out.set_models_in_use(report.models_in_use());
  out.set_orphan_blobs(report.orphan_blobs());
  out.set_orphan_claims(report.orphan_claims());
  out.set_orphan_uploads(report.orphan_uploads());
  out.set_old_records(report.old_records());
  *out.mutable_problems() = report.problems();
  return out;
}

v1::Job ToProto(const store::v1::JobRecord& job) {
  v1::Job out;
  out.set_id(job.id());
  out.set_kind(static_cast<v1::Job::Kind>(job.kind()));
  out.set_state(static_cast<v1::Job::State>(job.state()));
  if (!job.model_id().empty()) out.set_model(IdReference(job.model_id()));
  out.set_model_name(job.model_name());
  out.set_attempts(job.attempts());
  out.set_done_bytes(job.done_bytes());
  out.set_total_bytes(job.total_bytes());
  out.set_error(job.error());
  SetTime(job.create_time_us(), out.mutable_create_time());
  SetTime(job.update_time_us(), out.mutable_update_time());
  if (job.has_gc_report()) *out.mutable_gc_report() = ToProto(job.gc_report());
  if (job.has_scrub_report()) *out.mutable_scrub_report() = ToProto(job.scrub_report());
  return out;
}

}  // namespace wdelta

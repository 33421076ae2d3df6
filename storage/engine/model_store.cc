#include "storage/engine/model_store.h"

#include <utility>

#include "storage/base/status_macros.h"
#include "storage/engine/records/records.h"

namespace wdelta {

ModelStore::ModelStore(const Dependencies& d, ModelStoreOptions options)
    : options_(std::move(options)),
      ids_(d.clock, d.random),
      claims_(d.blobs, d.catalog, d.waiting),
      staging_(options_.staging_dir, d.files, d.catalog),
      disk_(d.files, options_.staging_dir, options_.min_free_bytes),
      jobs_(d.catalog, &ids_, d.clock, options_.node_id),
      job_tally_(d.catalog),
      models_(d.catalog, &jobs_, d.clock),
      lineage_(d.catalog),
      reader_(d.blobs, &models_, &staging_, &codec_pool_, options_.codec_threads,
              options_.chunk_cache_bytes, d.waiting),
      uploads_({d.catalog, d.files, &staging_, &jobs_, &models_, &reader_, &ids_, d.clock, &disk_,
                options_.max_open_uploads, options_.upload_ttl}),
      merges_({d.catalog, &jobs_, &models_, &reader_, &ids_, d.clock, &disk_}),
      revisions_({d.catalog, &models_, &reader_, &claims_, &ids_, d.clock, &disk_}),
      job_dependencies_({d.catalog, &jobs_, &models_, &reader_, &staging_, &claims_, &codec_pool_,
                         d.clock, options_.storage_policy, d.blobs, &disk_}),
      runner_(job_dependencies_),
      maintenance_(job_dependencies_),
      codec_pool_(options_.codec_threads) {}

absl::Status ModelStore::Recover() {
  if (options_.has_lineage_thread) WDELTA_RETURN_IF_ERROR(lineage_.Start());
  WDELTA_RETURN_IF_ERROR(jobs_.ReleaseOwn());
  WDELTA_RETURN_IF_ERROR(uploads_.Recover());
  // A staging folder belongs to an open upload or to a model that still needs it.
  return staging_.RemoveStrays([this](const std::string& upload_id) -> absl::StatusOr<bool> {
    const absl::StatusOr<UploadView> upload = uploads_.Get(upload_id);
    if (absl::IsNotFound(upload.status())) return false;
    WDELTA_RETURN_IF_ERROR(upload.status());
    if (upload->record.state() == store::v1::UploadRecord::OPEN) return true;
    if (upload->record.model_id().empty()) return false;
    WDELTA_ASSIGN_OR_RETURN(const std::optional<Model> model,
                            models_.GetById(upload->record.model_id()));
    return model.has_value() && model->record.staging_id() == upload_id;
  });
}

}  // namespace wdelta

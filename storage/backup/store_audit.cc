#include "storage/backup/store_audit.h"

#include <optional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "storage/base/digest.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/records.h"
#include "store/v1/records.pb.h"

namespace wdelta {
namespace {

using store::v1::ModelRecord;

class Auditor {
 public:
  Auditor(Catalog& catalog, BlobStore& blobs,
          const std::function<bool(const std::string&)>& has_staged,
          const std::function<absl::Status()>& alive)
      : catalog_(catalog), blobs_(blobs), has_staged_(has_staged), alive_(alive) {}

  absl::StatusOr<StoreAudit> Run() {
    const std::string prefix(keys::kModels);
    ScanRequest request{prefix, PrefixEnd(prefix), limits::kModelsPerScan, false};
    while (true) {
      WDELTA_ASSIGN_OR_RETURN(const ScanPage page, catalog_.Scan(request));
      for (const Record& record : page.records) {
        WDELTA_ASSIGN_OR_RETURN(const auto model, ParseRecord<ModelRecord>(record));
        WDELTA_RETURN_IF_ERROR(Visit(model.message));
      }
      if (!page.more || page.records.empty()) return audit_;
      request.begin = page.records.back().key + '\0';
    }
  }

 private:
  absl::Status Visit(const ModelRecord& model) {
    WDELTA_RETURN_IF_ERROR(alive_());
    if (model.state() != ModelRecord::DELETED) ++audit_.model_count;
    if (model.state() == ModelRecord::READY) return VisitChain(model);
    const bool is_staged =
        model.state() == ModelRecord::STAGED || model.state() == ModelRecord::IMPORTING;
    if (is_staged && !has_staged_(model.staging_id())) {
      Note(absl::StrCat("model '", model.name(), "' (id:", model.id(), "): expected upload ",
                        model.staging_id(), ", found none"));
    }
    return absl::OkStatus();
  }

  // The model and all that it is decoded over, deleted ones included.
  absl::Status VisitChain(ModelRecord model) {
    while (visited_.insert(model.id()).second) {
      WDELTA_RETURN_IF_ERROR(VisitBlobs(model));
      if (model.storage_parent_id().empty()) return absl::OkStatus();
      WDELTA_ASSIGN_OR_RETURN(
          auto parent, ReadRecord<ModelRecord>(catalog_, keys::Model(model.storage_parent_id())));
      if (!parent.has_value()) {
        Note(absl::StrCat("model '", model.name(), "' (id:", model.id(),
                          "): expected its storage parent id:", model.storage_parent_id(),
                          ", found none"));
        return absl::OkStatus();
      }
      model = std::move(parent->message);
    }
    return absl::OkStatus();
  }

  absl::Status VisitBlobs(const ModelRecord& model) {
    for (const store::v1::DeltaPiece& piece : model.delta_pieces()) {
      WDELTA_RETURN_IF_ERROR(alive_());
      WDELTA_ASSIGN_OR_RETURN(const Digest digest, Digest::FromBytes(piece.blob_digest()));
      const absl::Status found = blobs_.Stat(digest).status();
      if (found.ok()) continue;
      if (!absl::IsNotFound(found) && !absl::IsDataLoss(found)) return found;
      Note(absl::StrCat("model '", model.name(), "' (id:", model.id(), "): expected blob ",
                        digest.ToHex(), ", found: ", found.message()));
    }
    return absl::OkStatus();
  }

  void Note(std::string problem) {
    if (audit_.problem_count++ == 0) audit_.first_problem = std::move(problem);
  }

  Catalog& catalog_;
  BlobStore& blobs_;
  const std::function<bool(const std::string&)>& has_staged_;
  const std::function<absl::Status()>& alive_;
  absl::flat_hash_set<std::string> visited_;
  StoreAudit audit_;
};

}  // namespace

absl::StatusOr<StoreAudit> AuditStore(Catalog& catalog, BlobStore& blobs,
                                      const std::function<bool(const std::string&)>& has_staged,
                                      const std::function<absl::Status()>& alive) {
  return Auditor(catalog, blobs, has_staged, alive).Run();
}

}  // namespace wdelta

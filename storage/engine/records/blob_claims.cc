#include "storage/engine/records/blob_claims.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/base/error.h"
#include "storage/base/status_macros.h"
#include "storage/catalog/keys.h"
#include "storage/engine/records/records.h"
#include "store/v1/records.pb.h"

namespace wdelta {

using store::v1::BlobRecord;

std::string RepackOwner(absl::string_view model_id, absl::string_view job_id) {
  return absl::StrCat(model_id, "+", job_id);
}

absl::Status BlobClaims::Claim(absl::string_view owner, const std::string& hex) {
  return RetryOnConflict([&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(auto record, ReadRecord<BlobRecord>(*catalog_, keys::Blob(hex)));
    BlobRecord blob;
    if (record.has_value()) blob = std::move(record->message);
    if (blob.reclaiming()) {
      return MakeError(absl::StatusCode::kUnavailable, "BLOB_RECLAIMED",
                       absl::StrCat("blob ", hex, " is being deleted"));
    }
    const auto& users = blob.model_ids();
    if (std::find(users.begin(), users.end(), owner) != users.end()) return absl::OkStatus();
    blob.add_model_ids(std::string(owner));
    Commit commit;
    commit.Require(keys::Blob(hex), record.has_value() ? record->version : 0);
    commit.Write(keys::Blob(hex), blob.SerializeAsString());
    commit.Write(keys::BlobOf(owner, hex), "");
    return catalog_->Apply(commit).status();
  });
}

absl::StatusOr<PutResult> BlobClaims::ClaimAndPut(absl::string_view owner, const Digest& digest,
                                                  absl::string_view data) {
  WDELTA_RETURN_IF_ERROR(Claim(owner, digest.ToHex()));
  return blobs_->Put(digest, data);
}

// Waits until no other thread gives up a claim of the blob; ends with the object.
class BlobClaims::Turn {
 public:
  Turn(BlobClaims* claims, std::string hex) : claims_(*claims), hex_(std::move(hex)) {
    const auto is_free = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(claims_.mutex_) {
      return !claims_.releasing_.contains(hex_);
    };
    absl::MutexLock lock(&claims_.mutex_);
    if (claims_.waiting_ == nullptr) {
      claims_.mutex_.Await(absl::Condition(&is_free));
    } else {
      claims_.waiting_->Await(claims_.mutex_, absl::Condition(&is_free));
    }
    claims_.releasing_.insert(hex_);
  }
  ~Turn() {
    absl::MutexLock lock(&claims_.mutex_);
    claims_.releasing_.erase(hex_);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  BlobClaims& claims_;
  const std::string hex_;
};

absl::Status BlobClaims::Release(absl::string_view owner, const std::string& hex,
                                 uint64_t* freed_bytes) {
  const Turn turn(this, hex);
  // Whether this call is the one that has to delete the blob.
  bool last_user = false;
  uint64_t marked_version = 0;
  WDELTA_RETURN_IF_ERROR(RetryOnConflict([&]() -> absl::Status {
    WDELTA_ASSIGN_OR_RETURN(auto record, ReadRecord<BlobRecord>(*catalog_, keys::Blob(hex)));
    Commit commit;
    last_user = false;
    if (record.has_value()) {
      BlobRecord blob = std::move(record->message);
      auto* users = blob.mutable_model_ids();
      users->erase(std::remove(users->begin(), users->end(), owner), users->end());
      last_user = users->empty();
      blob.set_reclaiming(last_user);
      commit.Require(keys::Blob(hex), record->version);
      commit.Write(keys::Blob(hex), blob.SerializeAsString());
    }
    // The model's own entry stays until the blob is gone, so that a crash in between
    // is repaired by the next call.
    if (!last_user) commit.Erase(keys::BlobOf(owner, hex));
    WDELTA_ASSIGN_OR_RETURN(marked_version, catalog_->Apply(commit));
    return absl::OkStatus();
  }));
  if (!last_user) return absl::OkStatus();
  Commit done;
  done.Erase(keys::BlobOf(owner, hex));
  return DeleteMarked(hex, marked_version, std::move(done), freed_bytes);
}

absl::Status BlobClaims::DeleteUnclaimed(const std::string& hex, uint64_t* freed_bytes) {
  const Turn turn(this, hex);
  WDELTA_ASSIGN_OR_RETURN(auto record, ReadRecord<BlobRecord>(*catalog_, keys::Blob(hex)));
  BlobRecord blob;
  if (record.has_value()) blob = std::move(record->message);
  if (!blob.model_ids().empty()) return absl::OkStatus();
  blob.set_reclaiming(true);
  Commit mark;
  mark.Require(keys::Blob(hex), record.has_value() ? record->version : 0);
  mark.Write(keys::Blob(hex), blob.SerializeAsString());
  const absl::StatusOr<uint64_t> marked_version = catalog_->Apply(mark);
  if (absl::IsAborted(marked_version.status())) return absl::OkStatus();  // claimed meanwhile
  WDELTA_RETURN_IF_ERROR(marked_version.status());
  return DeleteMarked(hex, *marked_version, Commit(), freed_bytes);
}

absl::Status BlobClaims::DeleteMarked(const std::string& hex, uint64_t marked_version, Commit done,
                                      uint64_t* freed_bytes) {
  WDELTA_ASSIGN_OR_RETURN(const Digest digest, Digest::FromHex(hex));
  uint64_t size_bytes = 0;
  if (freed_bytes != nullptr) {
    const absl::StatusOr<BlobInfo> blob = blobs_->Stat(digest);
    if (blob.ok()) size_bytes = blob->size_bytes;  // otherwise damaged, or gone already
  }
  WDELTA_RETURN_IF_ERROR(blobs_->Delete(digest));
  done.Require(keys::Blob(hex), marked_version).Erase(keys::Blob(hex));
  WDELTA_RETURN_IF_ERROR(catalog_->Apply(done).status());
  if (freed_bytes != nullptr) *freed_bytes += size_bytes;
  return absl::OkStatus();
}

absl::Status BlobClaims::ReleaseAll(absl::string_view owner, uint64_t* freed_bytes) {
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> hexes,
                          ScanKeySuffixes(*catalog_, keys::BlobOfPrefix(owner)));
  for (const std::string& hex : hexes) {
    WDELTA_RETURN_IF_ERROR(Release(owner, hex, freed_bytes));
  }
  return absl::OkStatus();
}

absl::Status BlobClaims::ReleaseModel(absl::string_view model_id, uint64_t* freed_bytes) {
  // All ids have the same length, so that no other model's owner begins alike.
  const std::string prefix = keys::BlobsOfModelPrefix(model_id);
  WDELTA_ASSIGN_OR_RETURN(const std::vector<std::string> suffixes,
                          ScanKeySuffixes(*catalog_, prefix));
  for (const std::string& suffix : suffixes) {
    // `/<hex>` or `+<job id>/<hex>`.
    const size_t slash = suffix.find('/');
    if (slash == std::string::npos) return absl::DataLossError("catalog: bad key of a claim");
    WDELTA_RETURN_IF_ERROR(Release(absl::StrCat(model_id, suffix.substr(0, slash)),
                                   suffix.substr(slash + 1), freed_bytes));
  }
  return absl::OkStatus();
}

}  // namespace wdelta

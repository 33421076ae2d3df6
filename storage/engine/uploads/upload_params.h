// What goes into uploads and comes out of them; part of uploads.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "storage/base/digest.h"
#include "storage/engine/models/models.h"
#include "storage/engine/records/names.h"
#include "store/v1/records.pb.h"

namespace wdelta {

struct UploadView {
  store::v1::UploadRecord record;
  std::vector<uint64_t> durable_bytes;  // by entry
  // When it expires unless there is activity; infinite: never.
  absl::Time expire_time = absl::InfiniteFuture();
};

struct ParentReference {
  std::string reference;
  // UNSPECIFIED: FINE_TUNE for the only parent, MERGE for one of several.
  store::v1::ParentEdge::Relation relation = store::v1::ParentEdge::RELATION_UNSPECIFIED;
  StringMap metadata;
};

struct StartUploadParams {
  std::string request_id;
  // SHA-256 of what the client asked for, to tell a repeated request from another.
  Digest fingerprint;
  std::string name;
  store::v1::UploadRecord::Kind kind = store::v1::UploadRecord::CHECKPOINT;
  std::vector<ParentReference> parents;
  StringMap labels;
  StringMap metadata;
  bool new_version = false;
  store::v1::FidelityPolicy fidelity;
};

struct EntryParams {
  std::string path;
  uint64_t size_bytes = 0;
  std::string sha256_hex;  // empty: not declared
};

struct FinishedUpload {
  Model model;
  std::string job_id;
};

// Whether what is served in the end may hold more of the parents than the client itself sent:
// what it declares to be near to a parent, with loss, becomes almost the parent, and a `.wdelta`
// is what it makes of its parent.
bool MayShowParents(store::v1::UploadRecord::Kind kind, const store::v1::FidelityPolicy& fidelity);

// NOT_FOUND (`UPLOAD_NOT_FOUND`).
absl::Status UploadNotFound(absl::string_view upload_id);

// FAILED_PRECONDITION (`UPLOAD_EXPIRED`).
absl::Status UploadExpired(const store::v1::UploadRecord& upload);

}  // namespace wdelta

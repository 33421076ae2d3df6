// Stored records as messages of the public API, and requests as parameters of the
// engine. Pure functions; any thread.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/map.h"
#include "storage/engine/models/models.h"
#include "storage/engine/queue/job_queue.h"
#include "storage/engine/uploads/uploads.h"
#include "storage/tensor/checkpoint.h"
#include "storage/wdelta/wdelta_file.h"
#include "wdelta/v1/jobs.pb.h"
#include "wdelta/v1/models.pb.h"
#include "wdelta/v1/uploads.pb.h"

namespace wdelta {

// `id:ID`, or empty for the empty id.
std::string IdReference(absl::string_view id);

enum class FileList { kOmit, kInclude };
v1::Model ToProto(const Model& model, FileList file_list);
// What is told of a deleted model: id, name, parents.
v1::Model TombstoneToProto(const Model& model);

v1::StorageExplanation ToProto(const Model& model, const store::v1::StorageChoiceRecord& choice);

enum class EntryList { kOmit, kInclude };
v1::Upload ToProto(const UploadView& upload, EntryList entry_list);

// From microseconds since the Unix epoch.
void SetTime(int64_t unix_us, google::protobuf::Timestamp* time);

v1::GcReport ToProto(const store::v1::GcReport& report);
v1::ScrubReport ToProto(const store::v1::ScrubReport& report);
v1::Job ToProto(const store::v1::JobRecord& job);
v1::Tag ToProto(const Tag& tag);
v1::TagChange ToProto(const TagChange& change);
// `stored`: where the model is decoded from; null while it is not READY.
v1::Tensor ToProto(const Checkpoint& checkpoint, uint32_t stream, const WdeltaFile* stored);

StringMap ToStringMap(const google::protobuf::Map<std::string, std::string>& map);

// INVALID_ARGUMENT (`BAD_KIND`, `BAD_RELATION`, and those of fidelity_convert.h). The
// engine checks the rest.
absl::StatusOr<StartUploadParams> FromProto(const v1::StartUploadRequest& request);

// INVALID_ARGUMENT (`BAD_STATE`, `BAD_TIME`, `BAD_RANGE`).
absl::StatusOr<ModelFilter> FromProto(const v1::ListModelsRequest& request);

}  // namespace wdelta

// Writes a model's delta against its parent as a version 1 `.wdelta`, the format of
// deltatensors. Lossy, whatever the strategy: see storage/wdelta/v1/FORMAT_V1.md.
//
// It is the client that computes the file: the daemon then needs no scratch space and
// no further call for a format that is not its own, and what travels is what any
// reader of both models would fetch.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "client/cpp/progress.h"
#include "storage/wdelta/v1/v1_writer.h"

namespace wdelta {

struct ExportV1Options {
  std::string parent;  // any stored model; empty: the model's only parent
  V1WriterOptions writer;
  ProgressCallback progress;
};

struct ExportV1Result {
  v1::Model model;
  v1::Model parent;
  Digest parent_hash;
  V1WriterResult written;
};

// Fetches tensor by tensor. Memory does not depend on the size of a tensor; a folder
// `.<name>.wdelta-scratch` beside `file_name` takes two float32 copies of the largest
// tensor and the arrays of the file, and is removed at the end.
// Errors: the server's; FAILED_PRECONDITION (reason `NO_PARENT`, none is declared, or
// several); INVALID_ARGUMENT (reason `V1_UNSUPPORTED`, naming the tensor: not in
// both models, of another shape, of a dtype without float32 values, or as
// v1_writer.h); DATA_LOSS as in fetch_tensors.h; the disk's.
absl::StatusOr<ExportV1Result> ExportV1(Client& client, const std::string& model,
                                        const std::string& file_name,
                                        const ExportV1Options& options);

}  // namespace wdelta

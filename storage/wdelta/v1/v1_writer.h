// Writes `.wdelta` version 1 files, which are lossy: see FORMAT_V1.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "storage/base/digest.h"
#include "storage/base/file_system.h"
#include "storage/wdelta/v1/v1_file.h"

namespace wdelta {

// The delta of one tensor as float32, readable in any order and several times.
class V1Delta {
 public:
  virtual ~V1Delta() = default;
  virtual uint64_t element_count() const = 0;
  // Fills `values` with the elements from `first` on.
  virtual absl::Status Read(uint64_t first, absl::Span<float> values) const = 0;
};

struct V1WriterOptions {
  V1Strategy strategy = V1Strategy::kInt4;
  double sparsity = 0.9;           // of sparse: the part of the elements that is dropped
  double outlier_fraction = 0.01;  // of int4: the part that is kept as float16
};

struct V1WriterResult {
  uint64_t file_bytes = 0;
  uint64_t tensor_count = 0;
  uint64_t element_count = 0;
  // Norm of what the file loses of the deltas over the norm of the deltas, all
  // tensors together; 0 when there is no delta.
  double relative_error = 0;
};

// The header, which comes first in the file, is known last: arrays wait in a scratch
// file. Order of calls: AddTensor for each, in hash order; Finish. After an error
// the writer is of no use. Memory does not depend on the size of a tensor; a tensor
// is read up to six times. One thread at a time.
class V1Writer {
 public:
  using Sink = absl::AnyInvocable<absl::Status(absl::string_view)>;

  // INVALID_ARGUMENT unless the fractions are in [0, 1). `scratch_path` is written
  // over, and left to the caller to remove; `files` must outlive the writer.
  static absl::StatusOr<V1Writer> Create(const V1WriterOptions& options, FileSystem* files,
                                         const std::string& scratch_path);

  // INVALID_ARGUMENT (reason `V1_UNSUPPORTED`), naming the tensor: the delta is not
  // finite, or beyond float16 where one is stored; no elements under quantized.
  absl::Status AddTensor(absl::string_view name, const std::vector<uint64_t>& shape,
                         const V1Delta& delta);

  absl::StatusOr<V1WriterResult> Finish(const Digest& parent_hash, Sink sink);

 private:
  struct Sums {
    double squares = 0;        // of deltas
    double error_squares = 0;  // of what is lost
  };
  class TensorEncoder;

  V1Writer(const V1WriterOptions& options, FileSystem* files, std::string scratch_path,
           std::unique_ptr<AppendFile> scratch)
      : options_(options),
        files_(files),
        scratch_path_(std::move(scratch_path)),
        scratch_(std::move(scratch)) {}

  std::string Header(const Digest& parent_hash) const;

  const V1WriterOptions options_;
  FileSystem* const files_;
  const std::string scratch_path_;
  std::unique_ptr<AppendFile> scratch_;
  uint64_t scratch_bytes_ = 0;
  std::vector<std::string> entries_;  // of the header, in JSON
  uint64_t element_count_ = 0;
  Sums sums_;
};

}  // namespace wdelta

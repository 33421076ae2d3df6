// Reads `.wdelta` version 1 files, trusting nothing in them.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "storage/base/file_system.h"
#include "storage/wdelta/v1/v1_file.h"

namespace wdelta {

// Whether a file starts as a version 1 file does; false for anything else that can
// be read.
absl::StatusOr<bool> IsV1File(const RandomAccessFile& file);

// Immutable after Open: any thread may call it.
class V1Reader {
 public:
  // Reads the whole file twice: for its checksum, and for its arrays' places and
  // indices. DATA_LOSS (reason `BAD_WDELTA`) names the field, expected and found.
  // Holds the tables of the header, whose size limits.h bounds.
  static absl::StatusOr<std::shared_ptr<const V1Reader>> Open(
      std::shared_ptr<const RandomAccessFile> file);

  const V1File& file() const { return file_; }

  // Adds the deltas of elements [first, first + values.size()) of tensor `tensor` to
  // `values`, the parent's as float32: the model's values, by the arithmetic of
  // FORMAT_V1.md. Memory: some hundred KiB. INVALID_ARGUMENT when there are no
  // such elements; DATA_LOSS when the file has changed since Open.
  absl::Status AddDelta(uint32_t tensor, uint64_t first, absl::Span<float> values) const;

 private:
  V1Reader(std::shared_ptr<const RandomAccessFile> source, V1File file)
      : source_(std::move(source)), file_(std::move(file)) {}

  absl::Status AddSparse(const V1Tensor& tensor, uint64_t first, absl::Span<float> values) const;
  absl::Status AddQuantized(const V1Tensor& tensor, uint64_t first, absl::Span<float> values) const;
  absl::Status AddInt4(const V1Tensor& tensor, uint64_t first, absl::Span<float> values) const;

  const std::shared_ptr<const RandomAccessFile> source_;
  const V1File file_;
};

}  // namespace wdelta

// A stored `.wdelta` whose payloads are verified as they are read, so that damage is found
// where it is and not by whoever gets the file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/file_system.h"
#include "storage/engine/content/piece_plan.h"
#include "storage/wdelta/wdelta_reader.h"

namespace wdelta {

// Any thread may call it.
class CheckedDelta final : public RandomAccessFile {
 public:
  // Reads and checks the metadata; errors as WdeltaReader. Those of reading begin with `name`.
  static absl::StatusOr<std::shared_ptr<const CheckedDelta>> Open(
      std::string name, std::shared_ptr<const RandomAccessFile> file);

  // DATA_LOSS (`BAD_WDELTA`) names the first chunk with a byte in the range whose payload is
  // damaged, be it before or behind the range.
  absl::Status Read(uint64_t offset, char* destination, size_t size) const override;
  absl::StatusOr<uint64_t> SizeBytes() const override { return reader_->file().file_bytes; }

  // The file from `offset` on, at most its size, as the only stream of a source. Cut where
  // payloads end, so that each is read once, for the piece that it lies in; but one of more
  // than kFetchPieceBytes is cut, and verified with each of its parts.
  std::unique_ptr<const PiecePlan> PiecesFrom(uint64_t offset) const;

 private:
  CheckedDelta(std::string name, std::shared_ptr<const RandomAccessFile> file,
               std::shared_ptr<const WdeltaReader> reader);

  uint64_t FactorBytesOf(uint32_t stream) const;
  // The first in `corrected_` whose factors end behind `offset`.
  std::vector<uint32_t>::const_iterator FirstFactorsBehind(uint64_t offset) const;
  absl::Status CheckFactors(uint64_t offset, absl::string_view bytes) const;
  absl::Status CheckChunks(uint64_t offset, absl::string_view bytes) const;
  // By number in the file: as it lies there now.
  absl::Status CheckStoredChunk(size_t chunk) const;

  const std::string name_;
  const std::shared_ptr<const RandomAccessFile> file_;
  const std::shared_ptr<const WdeltaReader> reader_;
  std::vector<uint32_t> corrected_;  // streams with a correction
};

}  // namespace wdelta

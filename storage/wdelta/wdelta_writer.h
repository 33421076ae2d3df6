// Writes a `.wdelta` version 2 file front to back, without seeking.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "storage/wdelta/wdelta_file.h"

namespace wdelta {

// Order of calls: Begin, then for every stream BeginStream, AddChunk for each of
// its chunks in order, EndStream; Finish at last. Calls out of order, or chunks
// that do not add up to the stream, are FAILED_PRECONDITION. Holds the chunk index
// (32 bytes a chunk), never payloads. One thread at a time.
class WdeltaWriter {
 public:
  // Takes bytes in file order; its errors are passed on.
  using Sink = absl::AnyInvocable<absl::Status(absl::string_view)>;

  // `chunk_bytes`: decoded size of all chunks but the last of a stream.
  WdeltaWriter(Sink sink, uint64_t chunk_bytes);

  absl::Status Begin();
  // `correction`: written before the stream's chunks; null: none.
  absl::Status BeginStream(const StreamInfo& info, std::optional<uint32_t> parent_stream,
                           std::optional<DType> parent_dtype = std::nullopt,
                           const Correction* correction = nullptr);
  absl::Status AddChunk(const EncodedChunk& chunk, uint64_t content_xxh3);
  absl::Status EndStream(const Digest& sha256);
  // Writes the metadata and the footer; returns what a reader would read. `fidelity`:
  // where loss was allowed.
  absl::StatusOr<WdeltaFile> Finish(std::vector<CheckpointFile> files,
                                    std::optional<Digest> parent_digest,
                                    std::optional<WdeltaFidelity> fidelity = std::nullopt);

 private:
  enum class State { kNew, kBetweenStreams, kInStream, kFinished };
  absl::Status Expect(State state, absl::string_view call) const;
  // Passes bytes on; a failed sink ends the writer.
  absl::Status Emit(absl::string_view bytes);

  Sink sink_;
  State state_ = State::kNew;
  WdeltaFile file_;  // file_bytes: emitted so far
};

}  // namespace wdelta

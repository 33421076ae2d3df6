// The messages of a fetch, in order, made from cursors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "storage/engine/content/cursor.h"
#include "storage/engine/model_store.h"
#include "wdelta/v1/fetch.pb.h"

namespace wdelta {

// One thread at a time. Nothing here blocks.
template <typename Response>
class FetchProducer {
 public:
  virtual ~FetchProducer() = default;
  // Before the first Next. Called from a pool thread when the message after a kWait
  // is ready; may be called once too often.
  virtual void SetWaker(std::function<void()> waker) = 0;
  // kPiece: `message` is the next one. After an error or kEnd there is nothing more.
  virtual absl::StatusOr<Cursor::Progress> Next(Response& message) = 0;
  virtual void Cancel() = 0;
  // Not OK: its client is too slow and is given up, even amid a message. The waker tells.
  virtual absl::Status CheckTaker() const { return absl::OkStatus(); }
};

using FileProducer = FetchProducer<v1::FetchFileResponse>;
using TensorsProducer = FetchProducer<v1::FetchTensorsResponse>;

// These block on storage. Their errors are listed in proto/wdelta/v1/fetch.proto.
// Reasons besides the engine's: `FILE_NOT_FOUND`, `OFFSET_PAST_END`, `MODEL_NOT_READY`. For
// tensors and deltas see tensor_producer.h and delta_producer.h.
absl::StatusOr<std::unique_ptr<FileProducer>> OpenFile(ModelStore& store,
                                                       const v1::FetchFileRequest& request);

inline void FillPiece(CursorPiece piece, uint64_t offset, v1::Piece* out) {
  out->set_offset(offset);
  out->set_crc32c(piece.crc32c);
  out->set_data(std::move(piece.data));
}

}  // namespace wdelta

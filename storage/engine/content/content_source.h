// The bytes of one model, wherever they lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "storage/base/digest.h"
#include "storage/tensor/checkpoint.h"
#include "storage/wdelta/wdelta_reader.h"

namespace wdelta {

// Immutable: any number of threads may call it.
class ContentSource {
 public:
  virtual ~ContentSource() = default;

  // Files and streams of the model. Digests of files are set.
  virtual const Checkpoint& checkpoint() const = 0;

  // Fills `destination[0, size)` with bytes [offset, offset + size) of a stream.
  // DATA_LOSS when stored bytes are damaged, naming where.
  virtual absl::Status Read(uint32_t stream, uint64_t offset, size_t size,
                            char* destination) const = 0;

  // The same for one that is encoded against this one and keeps what it decodes: then what this
  // one is encoded against is less worth keeping.
  virtual absl::Status ReadForChild(uint32_t stream, uint64_t offset, size_t size,
                                    char* destination) const {
    return Read(stream, offset, size, destination);
  }

  // SHA-256 of a stream's bytes when it is known.
  virtual std::optional<Digest> StreamDigest(uint32_t stream) const = 0;

  // The `.wdelta` that the bytes are decoded from, whose streams are those of
  // `checkpoint()`; null when they lie somewhere as they are.
  virtual std::shared_ptr<const WdeltaReader> stored() const { return nullptr; }
};

using ContentSourcePtr = std::shared_ptr<const ContentSource>;

}  // namespace wdelta

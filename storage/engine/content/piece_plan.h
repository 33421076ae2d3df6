// How a stream of bytes is cut into pieces, and how each is read.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "storage/engine/content/content_source.h"

namespace wdelta {

// Immutable: any number of threads may call it.
class PiecePlan {
 public:
  virtual ~PiecePlan() = default;
  virtual size_t piece_count() const = 0;
  // Sets `bytes` to piece `index` of the stream, at most kFetchPieceBytes and not empty.
  // Errors are those of `source`.
  virtual absl::Status Read(const ContentSource& source, size_t index,
                            std::string& bytes) const = 0;
};

}  // namespace wdelta

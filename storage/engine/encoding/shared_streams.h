// Tensors whose encoded bytes the store has already.
//
// A tensor that is encoded against the same bytes takes the same payload, in whichever
// model it is, and pieces of large payloads begin and end with them (delta_pieces.h): such
// a tensor costs nothing more. So a model of tensors of several others is best stored
// against what those are stored against.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/base/digest.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/models/models.h"
#include "storage/tensor/checkpoint.h"

namespace wdelta {

// One thread at a time.
class SharedStreams {
 public:
  // Looks up the largest tensors; opens at most kMaxSharersOpened models. What cannot be
  // read is passed over.
  absl::Status Load(Catalog& catalog, Models& models, Reader& reader, const Checkpoint& checkpoint,
                    const std::vector<Digest>& stream_digests);

  // Whether some model has the content of `stream` encoded, without loss and in blobs of its
  // own, against that stream of that model; `parent_id` empty: against none.
  bool AreStored(uint32_t stream, const std::string& parent_id,
                 std::optional<uint32_t> parent_stream) const;

 private:
  struct Form {
    std::string parent_id;
    std::optional<uint32_t> parent_stream;
  };
  std::map<uint32_t, std::vector<Form>> forms_;  // by stream
};

}  // namespace wdelta

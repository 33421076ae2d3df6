// Finds content that an upload brings and the store already has, so that it need not
// travel: in the models that the upload is near to, stream by stream, and in any other
// by the index of contents.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/digest.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/models/models.h"
#include "storage/engine/records/name_check.h"

namespace wdelta {

// One thread at a time. Holds what it has opened: the bytes of a model that is deleted
// meanwhile stay readable.
class ContentFinder {
 public:
  struct Place {
    ContentSourcePtr source;
    uint32_t stream = 0;
  };

  // Owns none of them. `near_ids`: models that are likely to have much of the content;
  // those that are not READY are passed over. Models that `check_name` refuses hold nothing, so
  // that nobody learns what others have, nor takes it by its digest.
  ContentFinder(Catalog* catalog, Models* models, Reader* reader, std::vector<std::string> near_ids,
                NameCheck check_name)
      : catalog_(catalog),
        models_(models),
        reader_(reader),
        near_ids_(std::move(near_ids)),
        check_name_(std::move(check_name)) {}

  // Whether a stream with this SHA-256 is stored. It may be gone by the time it is
  // looked for.
  absl::StatusOr<bool> Has(const Digest& digest);

  // Where its bytes can be read; nullopt: nowhere.
  absl::StatusOr<std::optional<Place>> Find(const Digest& digest);

 private:
  absl::Status OpenNear();
  // Null for a model that is gone, not READY, damaged or not to be named.
  absl::StatusOr<ContentSourcePtr> OpenReady(const std::string& model_id);

  Catalog* const catalog_;
  Models* const models_;
  Reader* const reader_;
  std::vector<std::string> near_ids_;  // not opened yet
  NameCheck check_name_;
  std::vector<ContentSourcePtr> near_;
  struct NearPlace {
    uint32_t source = 0;  // index in `near_`
    uint32_t stream = 0;
  };
  absl::flat_hash_map<Digest, NearPlace> near_places_;
  // The last one that was found by the index.
  std::string far_id_;
  ContentSourcePtr far_;
};

}  // namespace wdelta

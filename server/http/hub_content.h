// The bytes of the files that a commit is made of: what clients sent, and files of the version
// before.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/http/hub_objects.h"
#include "storage/engine/content/content_source.h"
#include "storage/engine/content/reader.h"
#include "storage/engine/models/models.h"

namespace wdelta {

using TakeBytes = std::function<absl::Status(absl::string_view)>;

// Calls `take` with the bytes of an object, in order. Any thread.
absl::Status ReadObject(const HubObject& object, const TakeBytes& take);

// Reads files of one version, which is opened when the first is asked for. One thread at a
// time. Owns neither; both must outlive it.
class VersionReader {
 public:
  VersionReader(Reader* reader, const std::optional<Model>* version)
      : reader_(*reader), version_(*version) {}

  // Calls `take` with the bytes of a file, in order.
  absl::Status Read(const std::string& path, const TakeBytes& take);

 private:
  absl::Status Open();

  Reader& reader_;
  const std::optional<Model>& version_;
  ContentSourcePtr source_;
  absl::flat_hash_map<std::string, uint32_t> index_by_path_;
};

}  // namespace wdelta

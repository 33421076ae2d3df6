// Copies of staged uploads: frozen by links, backed up and restored by copying.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/base/file_system.h"
#include "storage/catalog/catalog.h"

namespace wdelta {

// Called with the sizes of pieces read; an error ends the work.
using OnStagedRead = std::function<absl::Status(uint64_t bytes)>;

struct StagedCopied {
  uint64_t uploads = 0;
  uint64_t total_bytes = 0;
};

// Links every staged file into `target`, a folder of the same file system. Staged files only
// grow, and are cut to no less than their durable size, so that a link keeps what the
// catalog counts on.
absl::Status LinkStagedFiles(FileSystem& files, const std::string& staging,
                             const std::string& target);

// Copies what `catalog` says is durable of the linked files from `frozen` to `target`, with
// a record of each upload. What `earlier` (a former copy, or empty) has already is linked.
// DATA_LOSS when a file is absent or shorter than the catalog says.
absl::StatusOr<StagedCopied> CopyStagedFiles(FileSystem& files, Catalog& catalog,
                                             const std::string& frozen, const std::string& earlier,
                                             const std::string& target,
                                             const OnStagedRead& on_read);

// Compares sizes and checksums of a copy; `expected_uploads` as StagedCopied has it.
// DATA_LOSS.
absl::Status VerifyStagedFiles(FileSystem& files, const std::string& copy,
                               uint64_t expected_uploads, const OnStagedRead& on_read);

// From a copy into the staging folder of a store, which is made. Compares checksums.
absl::Status RestoreStagedFiles(FileSystem& files, const std::string& copy,
                                uint64_t expected_uploads, const std::string& staging,
                                const OnStagedRead& on_read);

}  // namespace wdelta

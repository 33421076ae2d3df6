// Compares a store in which nothing runs with what it has promised.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/blobs/blob_store.h"
#include "storage/catalog/catalog.h"
#include "storage/engine/model_store.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/simulated_disk.h"

namespace wdelta::testing {

// All files of a model as they are served.
enum class ReadAs { kStored, kServed };  // served: chunks of earlier fetches may be used
absl::StatusOr<TestFiles> ReadFiles(ModelStore& store, const store::v1::ModelRecord& model,
                                    ReadAs as);
// Of files, names and bytes.
Digest DigestOf(const TestFiles& files);

struct CheckInput {
  ModelStore* store = nullptr;
  // What lies below the store.
  Catalog* catalog = nullptr;
  BlobStore* blobs = nullptr;
  SimulatedDisk* disk = nullptr;
  std::string staging_dir;
  absl::Time now;
  absl::Duration upload_ttl;
  // Whether jobs may have failed: of faults, or since they were cancelled.
  bool may_have_failures = false;
  std::function<void(const std::string&)> fail;
};

// Finds out what became of everything that was not answered, then checks that all that was
// promised is there, that it is served byte for byte, and that nothing else is.
void SettleAndCheck(const CheckInput& input, Oracle& oracle);

// After all jobs and a collection of garbage: every stored byte belongs to something.
void CheckNoGarbage(const CheckInput& input);

// After everything was deleted.
void CheckEmpty(const CheckInput& input);

}  // namespace wdelta::testing

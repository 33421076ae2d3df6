// What every blob store must do. A backend's test program instantiates it:
//
//   INSTANTIATE_TEST_SUITE_P(Memory, BlobStoreSuite, testing::Values(NewHarness));
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "storage/blobs/blob_store.h"

namespace wdelta {

// One empty store and what it lies on.
class BlobStoreHarness {
 public:
  virtual ~BlobStoreHarness() = default;
  virtual BlobStore& store() = 0;
  // Closes and opens the store where it can outlive a process; otherwise nothing.
  virtual void Reopen() {}
};

using BlobStoreBackend = std::function<std::unique_ptr<BlobStoreHarness>()>;

class BlobStoreSuite : public testing::TestWithParam<BlobStoreBackend> {
 protected:
  void SetUp() override;
  BlobStore& store() { return harness_->store(); }
  void Reopen() { harness_->Reopen(); }
  // Puts it, expects it created.
  Digest MustPut(const std::string& data);
  bool Exists(const Digest& digest);

 private:
  std::unique_ptr<BlobStoreHarness> harness_;
};

// Bytes that repeat nowhere, the same for a seed.
std::string RandomBytes(uint64_t size, uint64_t seed);

}  // namespace wdelta

#include "storage/blobs/memory_blob_store.h"

#include "gtest/gtest.h"
#include "tests/conformance/blob_store_suite.h"

namespace wdelta {
namespace {

class MemoryHarness final : public BlobStoreHarness {
 public:
  BlobStore& store() override { return store_; }

 private:
  MemoryBlobStore store_;
};

std::unique_ptr<BlobStoreHarness> NewHarness() { return std::make_unique<MemoryHarness>(); }

INSTANTIATE_TEST_SUITE_P(Memory, BlobStoreSuite, testing::Values(NewHarness));

}  // namespace
}  // namespace wdelta

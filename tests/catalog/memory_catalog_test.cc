#include "storage/catalog/memory_catalog.h"

#include "gtest/gtest.h"
#include "tests/conformance/catalog_suite.h"

namespace wdelta {
namespace {

class MemoryHarness final : public CatalogHarness {
 public:
  Catalog& catalog() override { return catalog_; }

 private:
  MemoryCatalog catalog_;
};

std::unique_ptr<CatalogHarness> NewHarness() { return std::make_unique<MemoryHarness>(); }

INSTANTIATE_TEST_SUITE_P(Memory, CatalogSuite, testing::Values(NewHarness));

TEST(PrefixEnd, IsTheLeastGreaterKey) {
  EXPECT_EQ(PrefixEnd("a"), "b");
  EXPECT_EQ(PrefixEnd("a\xff"), "b");
  EXPECT_EQ(PrefixEnd("\xff\xff"), "");
  EXPECT_EQ(PrefixEnd(""), "");
}

}  // namespace
}  // namespace wdelta

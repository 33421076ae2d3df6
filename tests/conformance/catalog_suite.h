// What every catalog must do. A backend's test program instantiates it:
//
//   INSTANTIATE_TEST_SUITE_P(Memory, CatalogSuite, testing::Values(NewHarness));
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "storage/catalog/catalog.h"

namespace wdelta {

// One empty catalog and what it lies on.
class CatalogHarness {
 public:
  virtual ~CatalogHarness() = default;
  virtual Catalog& catalog() = 0;
  // Closes and opens the catalog where it can outlive a process; otherwise nothing.
  virtual void Reopen() {}
};

using CatalogBackend = std::function<std::unique_ptr<CatalogHarness>()>;

class CatalogSuite : public testing::TestWithParam<CatalogBackend> {
 protected:
  void SetUp() override;
  Catalog& catalog() { return harness_->catalog(); }
  void Reopen() { harness_->Reopen(); }

  // The revision; 0 and a failed expectation on errors.
  uint64_t MustApply(const Commit& commit);
  // `value@version`, or `-` when absent.
  std::string Show(const std::string& key);
  ScanPage MustScan(const ScanRequest& request);
  std::unique_ptr<Watcher> MustWatch(const std::string& prefix, uint64_t after_revision);
  // The next `count` changes as `key=value@revision` or `key-@revision`.
  std::vector<std::string> MustSee(Watcher& watcher, size_t count);

 private:
  std::unique_ptr<CatalogHarness> harness_;
};

std::vector<std::string> KeysOf(const ScanPage& page);

}  // namespace wdelta

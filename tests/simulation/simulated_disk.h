// Files in memory that a crash takes back to what was synced, more or less.
//
// What was synced survives, of files their bytes and of folders their names. Of everything
// else the seed decides: a name may be there or not, and what a file holds beyond its synced
// bytes may be what was written, what was there before, zeros, or nothing. A sync that fails may
// have lost the bytes, though the next one succeeds.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/base/file_system.h"
#include "tests/simulation/machine.h"
#include "tests/simulation/random.h"

namespace wdelta::testing {

// Survives its daemons. One thread at a time.
class SimulatedDisk {
 public:
  struct Node;
  using NodePtr = std::shared_ptr<Node>;

  SimulatedDisk();

  // Null where there is nothing.
  NodePtr Find(const std::string& path) const;
  // Of the folder of `path`, which exists.
  NodePtr ParentOf(const std::string& path) const;
  static std::string NameOf(const std::string& path);

  // As after a loss of power.
  void Crash(Random& random);

 private:
  NodePtr root_;
};

// A file or a folder.
struct SimulatedDisk::Node {
  bool is_folder = false;
  // Of a folder: what is seen, and what was synced.
  std::map<std::string, NodePtr> entries;
  std::map<std::string, NodePtr> synced_entries;
  // Of a file, likewise.
  std::string bytes;
  std::string synced_bytes;
  // Up to here both are the same for ever.
  size_t kept_bytes = 0;
  // [begin, end) of `bytes` were lost by a sync that failed.
  size_t lost_begin = 0;
  size_t lost_end = 0;

  void CutTo(size_t size);
  void Sync();
  void FailSync();
};

// The files as one daemon sees them: it owns neither the disk nor the machine. Used in the
// thread whose turn it is.
std::unique_ptr<FileSystem> NewSimulatedFileSystem(SimulatedDisk* disk, Machine* machine);

}  // namespace wdelta::testing

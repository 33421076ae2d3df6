#include "tests/simulation/simulated_disk.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "storage/base/limits.h"
#include "tests/support/fault_file_system.h"

namespace wdelta::testing {
namespace {

using Node = SimulatedDisk::Node;
using NodePtr = SimulatedDisk::NodePtr;

constexpr uint64_t kFreeBytes = 100 * limits::kGiB;
constexpr uint64_t kFreeBytesOfFullDisk = 1;

std::vector<std::string> PartsOf(const std::string& path) {
  return absl::StrSplit(path, '/', absl::SkipEmpty());
}

NodePtr NewFolder() {
  auto folder = std::make_shared<Node>();
  folder->is_folder = true;
  return folder;
}

void CrashFile(Random& random, Node& file) {
  const size_t shorter = std::min(file.bytes.size(), file.synced_bytes.size());
  const size_t longer = std::max(file.bytes.size(), file.synced_bytes.size());
  const size_t kept = std::min(file.kept_bytes, shorter);
  const size_t size = kept + random.Below(longer - kept + 1);
  std::string left = file.synced_bytes.substr(0, kept);
  constexpr size_t kSectorBytes = 512;
  while (left.size() < size) {
    const size_t begin = left.size();
    const size_t count = std::min(kSectorBytes, size - begin);
    std::string sector(count, '\0');
    const uint64_t source = random.Below(3);
    const std::string& from = source == 0 ? file.bytes : file.synced_bytes;
    if (source < 2 && begin < from.size()) {
      const size_t there = std::min(count, from.size() - begin);
      std::memcpy(sector.data(), from.data() + begin, there);
    }
    left += sector;
  }
  file.bytes = left;
  file.synced_bytes = std::move(left);
  file.kept_bytes = size;
  file.lost_begin = file.lost_end = 0;
}

void CrashFolder(Random& random, Node& folder) {
  std::map<std::string, NodePtr> left;
  std::map<std::string, NodePtr> names = folder.entries;
  names.insert(folder.synced_entries.begin(), folder.synced_entries.end());
  for (const auto& [name, any] : names) {
    const auto seen = folder.entries.find(name);
    const auto synced = folder.synced_entries.find(name);
    const NodePtr now = seen == folder.entries.end() ? nullptr : seen->second;
    const NodePtr before = synced == folder.synced_entries.end() ? nullptr : synced->second;
    const NodePtr chosen = now == before || random.OneIn(2) ? now : before;
    if (chosen == nullptr) continue;
    left[name] = chosen;
    if (chosen->is_folder) {
      CrashFolder(random, *chosen);
    } else {
      CrashFile(random, *chosen);
    }
  }
  folder.entries = left;
  folder.synced_entries = std::move(left);
}

void RemoveTree(Node& folder) {
  for (const auto& [name, node] : folder.entries) {
    if (node->is_folder) RemoveTree(*node);
  }
  folder.entries.clear();
}

absl::Status NotFound(const std::string& path) {
  return absl::NotFoundError(absl::StrCat("open ", path, ": No such file or directory"));
}

// What an operation that does not work answers.
absl::Status ErrorOf(Fate fate, const std::string& path) {
  if (fate == Fate::kDaemonIsDead) return DaemonIsDead();
  return fate == Fate::kDiskIsFull ? DiskFullError(path) : InputOutputError(path);
}

// What is common to files and the file system of one life.
class Asker {
 public:
  Asker(Machine* machine, uint64_t life) : machine_(machine), life_(life) {}
  Fate Ask(Access access, absl::string_view operation, const std::string& path) const {
    return machine_->Ask(life_, Device::kFile, access, operation, path);
  }
  absl::Status Try(Access access, absl::string_view operation, const std::string& path) const {
    const Fate fate = Ask(access, operation, path);
    return fate == Fate::kWorks ? absl::OkStatus() : ErrorOf(fate, path);
  }
  bool IsFull() const { return machine_->LookAtFullDisk(life_); }
  Random& random() const { return machine_->random; }

 private:
  Machine* const machine_;
  const uint64_t life_;
};

class ReadFile final : public RandomAccessFile {
 public:
  ReadFile(const Asker& asker, std::string path, NodePtr node)
      : asker_(asker), path_(std::move(path)), node_(std::move(node)) {}

  absl::Status Read(uint64_t offset, char* destination, size_t size) const override {
    const absl::Status tried = asker_.Try(Access::kRead, "read", path_);
    if (!tried.ok()) return tried;
    const std::string& bytes = node_->bytes;
    if (offset > bytes.size() || size > bytes.size() - offset) {
      return absl::DataLossError(absl::StrCat("read ", path_, ": expected ", size,
                                              " bytes at offset ", offset, " of ", bytes.size()));
    }
    std::memcpy(destination, bytes.data() + offset, size);
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> SizeBytes() const override { return node_->bytes.size(); }

 private:
  const Asker asker_;
  const std::string path_;
  const NodePtr node_;
};

class WrittenFile final : public AppendFile {
 public:
  WrittenFile(const Asker& asker, std::string path, NodePtr node)
      : asker_(asker), path_(std::move(path)), node_(std::move(node)) {}

  absl::Status Append(absl::string_view data) override {
    const Fate fate = asker_.Ask(Access::kWrite, "append", path_);
    if (fate == Fate::kWorks) {
      node_->bytes.append(data.data(), data.size());
      return absl::OkStatus();
    }
    if (fate != Fate::kDaemonIsDead) {
      node_->bytes.append(data.data(), asker_.random().Below(data.size() + 1));
    }
    return ErrorOf(fate, path_);
  }
  absl::Status Sync() override {
    const Fate fate = asker_.Ask(Access::kWrite, "sync", path_);
    if (fate == Fate::kDaemonIsDead) return DaemonIsDead();
    if (fate == Fate::kWorks) {
      node_->Sync();
      return absl::OkStatus();
    }
    node_->FailSync();
    return ErrorOf(fate, path_);
  }

 private:
  const Asker asker_;
  const std::string path_;
  const NodePtr node_;
};

class SimulatedFileSystem final : public FileSystem {
 public:
  SimulatedFileSystem(SimulatedDisk* disk, Machine* machine)
      : disk_(*disk), asker_(machine, machine->life()) {}

  absl::Status CreateDirectories(const std::string& path) override {
    const absl::Status tried = asker_.Try(Access::kWrite, "mkdir", path);
    if (!tried.ok()) return tried;
    NodePtr folder = disk_.Find("");
    for (const std::string& part : PartsOf(path)) {
      NodePtr& next = folder->entries[part];
      if (next == nullptr) next = NewFolder();
      folder = next;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenForRead(const std::string& path) override {
    const absl::Status tried = asker_.Try(Access::kRead, "open", path);
    if (!tried.ok()) return tried;
    NodePtr node = disk_.Find(path);
    if (node == nullptr || node->is_folder) return NotFound(path);
    return std::make_unique<ReadFile>(asker_, path, std::move(node));
  }

  absl::StatusOr<std::unique_ptr<AppendFile>> OpenForAppend(const std::string& path,
                                                            uint64_t size_bytes) override {
    const absl::Status tried = asker_.Try(Access::kWrite, "create", path);
    if (!tried.ok()) return tried;
    const NodePtr folder = disk_.ParentOf(path);
    if (folder == nullptr) return NotFound(path);
    NodePtr& node = folder->entries[SimulatedDisk::NameOf(path)];
    if (node == nullptr) node = std::make_shared<Node>();
    if (node->bytes.size() < size_bytes) {
      return absl::OutOfRangeError(absl::StrCat("open ", path, ": expected at least ", size_bytes,
                                                " bytes, found ", node->bytes.size()));
    }
    node->CutTo(size_bytes);
    return std::make_unique<WrittenFile>(asker_, path, node);
  }

  absl::Status RemoveAll(const std::string& path) override {
    const absl::Status tried = asker_.Try(Access::kWrite, "remove", path);
    if (!tried.ok()) return tried;
    const NodePtr folder = disk_.ParentOf(path);
    const NodePtr node = disk_.Find(path);
    if (folder == nullptr || node == nullptr) return absl::OkStatus();
    if (node->is_folder) RemoveTree(*node);
    folder->entries.erase(SimulatedDisk::NameOf(path));
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override {
    const absl::Status tried = asker_.Try(Access::kRead, "list", path);
    if (!tried.ok()) return tried;
    std::vector<std::string> names;
    const NodePtr folder = disk_.Find(path);
    if (folder == nullptr) return names;
    for (const auto& [name, node] : folder->entries) names.push_back(name);
    return names;
  }

  absl::Status SyncDirectory(const std::string& path) override {
    const absl::Status tried = asker_.Try(Access::kWrite, "sync folder", path);
    if (!tried.ok()) return tried;
    const NodePtr folder = disk_.Find(path);
    if (folder == nullptr) return NotFound(path);
    folder->synced_entries = folder->entries;
    return absl::OkStatus();
  }

  // Called under locks: no other actor has its turn here.
  absl::StatusOr<uint64_t> FreeBytes(const std::string&) override {
    return asker_.IsFull() ? kFreeBytesOfFullDisk : kFreeBytes;
  }

 private:
  SimulatedDisk& disk_;
  const Asker asker_;
};

}  // namespace

void SimulatedDisk::Node::CutTo(size_t size) {
  bytes.resize(size);
  kept_bytes = std::min(kept_bytes, size);
  lost_end = std::min(lost_end, size);
  lost_begin = std::min(lost_begin, lost_end);
}

void SimulatedDisk::Node::Sync() {
  synced_bytes = bytes;
  std::fill(synced_bytes.begin() + static_cast<std::ptrdiff_t>(lost_begin),
            synced_bytes.begin() + static_cast<std::ptrdiff_t>(lost_end), '\0');
  kept_bytes = bytes.size();
}

void SimulatedDisk::Node::FailSync() {
  lost_begin = lost_begin == lost_end ? kept_bytes : std::min(lost_begin, kept_bytes);
  lost_end = bytes.size();
}

SimulatedDisk::SimulatedDisk() : root_(NewFolder()) {}

SimulatedDisk::NodePtr SimulatedDisk::Find(const std::string& path) const {
  NodePtr node = root_;
  for (const std::string& part : PartsOf(path)) {
    const auto found = node->entries.find(part);
    if (found == node->entries.end()) return nullptr;
    node = found->second;
  }
  return node;
}

SimulatedDisk::NodePtr SimulatedDisk::ParentOf(const std::string& path) const {
  return Find(path.substr(0, path.rfind('/')));
}

std::string SimulatedDisk::NameOf(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

void SimulatedDisk::Crash(Random& random) { CrashFolder(random, *root_); }

std::unique_ptr<FileSystem> NewSimulatedFileSystem(SimulatedDisk* disk, Machine* machine) {
  return std::make_unique<SimulatedFileSystem>(disk, machine);
}

}  // namespace wdelta::testing

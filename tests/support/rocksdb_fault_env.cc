#include "tests/support/rocksdb_fault_env.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"

namespace wdelta::testing {
namespace {

namespace fs = std::filesystem;
using rocksdb::IOStatus;

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void WriteWhole(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

}  // namespace

class FaultDisk::File final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  File(FaultDisk* disk, std::string path, std::unique_ptr<rocksdb::FSWritableFile>&& file)
      : FSWritableFileOwnerWrapper(std::move(file)), disk_(*disk), path_(std::move(path)) {}

  IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                  rocksdb::IODebugContext* debug) override {
    const IOStatus fault = disk_.Step(path_);
    const size_t bytes = fault.ok() ? data.size() : data.size() / 2;
    const IOStatus status =
        FSWritableFileOwnerWrapper::Append({data.data(), bytes}, options, debug);
    if (status.ok()) disk_.NoteAppend(path_, bytes);
    return fault.ok() ? status : fault;
  }
  IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                  const rocksdb::DataVerificationInfo&, rocksdb::IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Sync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    return Settle(options, debug);
  }
  IOStatus Fsync(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    return Settle(options, debug);
  }
  // A hint, which promises nothing.
  IOStatus RangeSync(uint64_t, uint64_t, const rocksdb::IOOptions&,
                     rocksdb::IODebugContext*) override {
    return IOStatus::OK();
  }

 private:
  IOStatus Settle(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) {
    const IOStatus fault = disk_.Step(path_);
    if (!fault.ok()) return fault;
    // Flushing to the system is enough: nobody cuts the power of the real disk.
    const IOStatus status = Flush(options, debug);
    if (status.ok()) disk_.NoteSync(path_);
    return status;
  }

  FaultDisk& disk_;
  const std::string path_;
};

class FaultDisk::Directory final : public rocksdb::FSDirectoryWrapper {
 public:
  Directory(FaultDisk* disk, std::string path, std::unique_ptr<rocksdb::FSDirectory>&& directory)
      : FSDirectoryWrapper(std::move(directory)), disk_(*disk), path_(std::move(path)) {}
  IOStatus Fsync(const rocksdb::IOOptions&, rocksdb::IODebugContext*) override { return Settle(); }
  IOStatus FsyncWithDirOptions(const rocksdb::IOOptions&, rocksdb::IODebugContext*,
                               const rocksdb::DirFsyncOptions&) override {
    return Settle();
  }

 private:
  IOStatus Settle() {
    const IOStatus fault = disk_.Step(path_);
    if (fault.ok()) disk_.NoteFolderSync(path_);
    return fault;
  }

  FaultDisk& disk_;
  const std::string path_;
};

FaultDisk::FaultDisk() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}

void FaultDisk::FailAfter(int64_t steps, Fault fault, int64_t count) {
  absl::MutexLock lock(&mutex_);
  steps_left_ = steps;
  failures_left_ = count;
  fault_ = fault;
  has_failed_ = false;
}

void FaultDisk::Heal() {
  absl::MutexLock lock(&mutex_);
  failures_left_ = 0;
}

bool FaultDisk::has_failed() {
  absl::MutexLock lock(&mutex_);
  return has_failed_;
}

void FaultDisk::SetFailing(std::string suffix) {
  absl::MutexLock lock(&mutex_);
  failing_ = std::move(suffix);
}

IOStatus FaultDisk::Step(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  if (failures_left_ == 0 || !absl::EndsWith(path, failing_)) return IOStatus::OK();
  if (steps_left_-- > 0) return IOStatus::OK();
  // A disk without power stays so.
  if (fault_ != Fault::kPowerLost) --failures_left_;
  has_failed_ = true;
  if (fault_ == Fault::kDiskFull) return IOStatus::NoSpace("No space left on device");
  return IOStatus::IOError("Input/output error");
}

void FaultDisk::NoteAppend(const std::string& path, uint64_t bytes) {
  absl::MutexLock lock(&mutex_);
  files_[path].written_bytes += bytes;
}

void FaultDisk::NoteSync(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  State& state = files_[path];
  state.synced_bytes = state.written_bytes;
}

void FaultDisk::NoteFolderSync(const std::string& path) {
  absl::MutexLock lock(&mutex_);
  names_synced_ = names_given_;
  for (auto& [file, state] : files_) {
    if (fs::path(file).parent_path() != fs::path(path)) continue;
    state.is_name_synced = true;
    state.replaced.reset();
  }
}

IOStatus FaultDisk::NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) {
  if (const IOStatus fault = Step(path); !fault.ok()) return fault;
  const IOStatus status = target()->NewWritableFile(path, options, file, debug);
  if (!status.ok()) return status;
  *file = std::make_unique<File>(this, path, std::move(*file));
  absl::MutexLock lock(&mutex_);
  files_[path] = State();
  files_[path].name_number = ++names_given_;
  return status;
}

IOStatus FaultDisk::NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext* debug) {
  const IOStatus status = target()->NewDirectory(path, options, directory, debug);
  if (status.ok()) *directory = std::make_unique<Directory>(this, path, std::move(*directory));
  return status;
}

IOStatus FaultDisk::RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) {
  if (const IOStatus fault = Step(to); !fault.ok()) return fault;
  std::optional<std::string> replaced;
  if (fs::exists(to)) replaced = ReadWhole(to);
  const IOStatus status = target()->RenameFile(from, to, options, debug);
  if (!status.ok()) return status;
  absl::MutexLock lock(&mutex_);
  State state = files_[from];
  files_.erase(from);
  // A name that never reached the disk has nothing to come back to.
  const auto former = files_.find(to);
  if (former != files_.end() && !former->second.is_name_synced) {
    replaced = former->second.replaced;
  }
  state.is_name_synced = false;
  state.name_number = ++names_given_;
  state.replaced = std::move(replaced);
  files_[to] = std::move(state);
  return status;
}

IOStatus FaultDisk::DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) {
  if (const IOStatus fault = Step(path); !fault.ok()) return fault;
  const IOStatus status = target()->DeleteFile(path, options, debug);
  absl::MutexLock lock(&mutex_);
  if (status.ok()) files_.erase(path);
  return status;
}

void FaultDisk::LosePower(std::mt19937& random) {
  absl::MutexLock lock(&mutex_);
  const uint64_t last_name = names_synced_ + random() % (names_given_ - names_synced_ + 1);
  for (const auto& [path, state] : files_) {
    if (!fs::exists(path)) continue;
    if (!state.is_name_synced && state.name_number > last_name) {
      state.replaced.has_value() ? WriteWhole(path, *state.replaced) : (void)fs::remove(path);
      continue;
    }
    const uint64_t unsynced_bytes = state.written_bytes - state.synced_bytes;
    const uint64_t kept_bytes = state.synced_bytes + random() % (unsynced_bytes + 1);
    std::string content = ReadWhole(path);
    content.resize(std::min<uint64_t>(content.size(), kept_bytes));
    const bool is_torn = kept_bytes > state.synced_bytes && absl::EndsWith(path, ".log");
    if (is_torn && random() % 3 == 0) content.back() ^= 0x55;
    WriteWhole(path, content);
  }
  files_.clear();
  failures_left_ = 0;
}

}  // namespace wdelta::testing

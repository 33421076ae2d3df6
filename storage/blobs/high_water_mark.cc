#include "storage/blobs/high_water_mark.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "storage/base/byte_reader.h"
#include "storage/base/checksum.h"
#include "storage/base/error.h"
#include "storage/base/file_system.h"
#include "storage/base/status_macros.h"

namespace wdelta {
namespace {

constexpr absl::string_view kMagic = "wdeltaHW";
constexpr size_t kSlotBytes = kMagic.size() + sizeof(uint64_t) + sizeof(uint32_t);
// In pages of their own, which reach the disk one by one.
constexpr uint64_t kSlotDistanceBytes = 4096;
constexpr int kSlots = 2;

struct Slots {
  std::array<std::optional<uint64_t>, kSlots> numbers;  // nullopt: not whole

  // Of the larger number; nullopt: neither is whole.
  std::optional<int> Newest() const {
    if (!numbers[0].has_value() && !numbers[1].has_value()) return std::nullopt;
    return numbers[1] > numbers[0] ? 1 : 0;  // nullopt is less than all numbers
  }
};

absl::Status ErrnoError(absl::string_view operation, const std::string& path) {
  return absl::ErrnoToStatus(errno, absl::StrCat(operation, " ", path));
}

std::string EncodeSlot(uint64_t number) {
  std::string slot(kMagic);
  AppendU64(slot, number);
  AppendU32(slot, Crc32c(slot));
  return slot;
}

std::optional<uint64_t> DecodeSlot(absl::string_view slot) {
  ByteReader reader(slot);
  const absl::StatusOr<absl::string_view> magic = reader.ReadBytes(kMagic.size(), "magic");
  const absl::StatusOr<uint64_t> number = reader.ReadU64("number");
  const absl::StatusOr<uint32_t> crc = reader.ReadU32("checksum");
  if (!crc.ok() || *magic != kMagic) return std::nullopt;
  if (*crc != Crc32c(slot.substr(0, kSlotBytes - sizeof(uint32_t)))) return std::nullopt;
  return *number;
}

// One that cannot be read is not whole.
Slots ReadSlots(int fd) {
  Slots slots;
  for (int i = 0; i < kSlots; ++i) {
    std::array<char, kSlotBytes> bytes{};
    const ssize_t got =
        ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(i * kSlotDistanceBytes));
    if (got == static_cast<ssize_t>(bytes.size())) {
      slots.numbers[i] = DecodeSlot({bytes.data(), bytes.size()});
    }
  }
  return slots;
}

// A descriptor, which the caller closes; -1 when there is no file.
absl::StatusOr<int> OpenFile(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0 && errno != ENOENT) return ErrnoError("open", path);
  return fd;
}

// Of one slot, there whole or not at all.
absl::Status ReplaceFile(const std::string& folder, uint64_t number) {
  const std::unique_ptr<FileSystem> files = NewPosixFileSystem();
  const std::string path = HighWaterMark::PathIn(folder);
  const std::string temporary = absl::StrCat(path, ".tmp");
  {
    WDELTA_ASSIGN_OR_RETURN(const auto file, files->OpenForAppend(temporary, 0));
    WDELTA_RETURN_IF_ERROR(file->Append(EncodeSlot(number)));
    // What is written later needs no space.
    WDELTA_RETURN_IF_ERROR(file->Append(std::string(kSlotDistanceBytes, '\0')));
    WDELTA_RETURN_IF_ERROR(file->Sync());
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return ErrnoError("rename", temporary);
  return files->SyncDirectory(folder);
}

}  // namespace

absl::StatusOr<std::optional<uint64_t>> HighWaterMark::Read(const std::string& folder) {
  const std::string path = PathIn(folder);
  WDELTA_ASSIGN_OR_RETURN(const int fd, OpenFile(path, O_RDONLY));
  if (fd < 0) return std::optional<uint64_t>();
  const absl::Cleanup close = [fd] { ::close(fd); };
  const Slots slots = ReadSlots(fd);
  if (const std::optional<int> newest = slots.Newest()) return slots.numbers[*newest];
  return MakeError(absl::StatusCode::kDataLoss, "HIGH_WATER_DAMAGED",
                   absl::StrCat(path, ": expected the number of the last write in one of ", kSlots,
                                " slots, found none that is whole"),
                   {{"path", path}});
}

absl::StatusOr<std::unique_ptr<HighWaterMark>> HighWaterMark::Open(const std::string& folder,
                                                                   uint64_t number) {
  const std::string path = PathIn(folder);
  WDELTA_ASSIGN_OR_RETURN(int fd, OpenFile(path, O_RDWR));
  Slots slots;
  if (fd >= 0) slots = ReadSlots(fd);
  std::optional<int> newest = slots.Newest();
  if (!newest.has_value() || *slots.numbers[*newest] > number) {
    if (fd >= 0) ::close(fd);
    WDELTA_RETURN_IF_ERROR(ReplaceFile(folder, number));
    WDELTA_ASSIGN_OR_RETURN(fd, OpenFile(path, O_RDWR));
    if (fd < 0) return absl::InternalError(absl::StrCat("open ", path, ": it has vanished"));
    newest = 0;
    slots.numbers = {number, std::nullopt};
  }
  std::unique_ptr<HighWaterMark> mark(
      new HighWaterMark(path, fd, *slots.numbers[*newest], 1 - *newest));
  WDELTA_RETURN_IF_ERROR(mark->Raise(number));
  return mark;
}

HighWaterMark::~HighWaterMark() {
  ::fdatasync(fd_);
  ::close(fd_);
}

absl::Status HighWaterMark::Raise(uint64_t number) {
  const std::string slot = EncodeSlot(number);
  absl::MutexLock lock(&mutex_);
  if (number <= number_) return absl::OkStatus();
  const auto offset = static_cast<off_t>(next_slot_ * kSlotDistanceBytes);
  ssize_t put = 0;
  do {
    put = ::pwrite(fd_, slot.data(), slot.size(), offset);
  } while (put < 0 && errno == EINTR);
  if (put < 0) return ErrnoError("write", path_);
  if (put != static_cast<ssize_t>(slot.size())) {
    return absl::InternalError(absl::StrCat("write ", path_, ": expected ", slot.size(),
                                            " bytes to be taken, found ", put));
  }
  number_ = number;
  next_slot_ = 1 - next_slot_;
  return absl::OkStatus();
}

uint64_t HighWaterMark::number() const {
  absl::MutexLock lock(&mutex_);
  return number_;
}

}  // namespace wdelta

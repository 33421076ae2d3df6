#include "server/http/hub_objects.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/http/http_limits.h"
#include "storage/base/error.h"
#include "storage/base/limits.h"
#include "storage/base/status_macros.h"

namespace wdelta {

absl::Status HubObjects::Clear() {
  WDELTA_RETURN_IF_ERROR(files_.RemoveAll(folder_));
  return files_.CreateDirectories(folder_);
}

HubObjectPtr HubObjects::Find(const std::string& repo, const Digest& digest) {
  absl::MutexLock lock(&mutex_);
  const auto found = kept_.find(Key(repo, digest));
  return found == kept_.end() ? nullptr : found->second.object;
}

void HubObjects::Drop(const std::string& repo, const Digest& digest) {
  HubObjectPtr dropped;  // destroyed without the lock
  absl::MutexLock lock(&mutex_);
  const auto found = kept_.find(Key(repo, digest));
  if (found == kept_.end()) return;
  dropped = std::move(found->second.object);
  kept_.erase(found);
}

std::vector<HubObjectPtr> HubObjects::TakeOld() {
  const absl::Time oldest = clock_.Now() - absl::Seconds(http_limits::kObjectLifetimeSeconds);
  std::vector<HubObjectPtr> taken;
  absl::erase_if(kept_, [&](auto& entry) {
    if (entry.second.time >= oldest) return false;
    taken.push_back(std::move(entry.second.object));
    return true;
  });
  return taken;
}

void HubObjects::RemoveOld() {
  std::vector<HubObjectPtr> old;  // destroyed without the lock
  absl::MutexLock lock(&mutex_);
  old = TakeOld();
}

void HubObjects::Sweep() {
  std::vector<HubObjectPtr> old;  // destroyed without the lock
  absl::MutexLock lock(&mutex_);
  const absl::Time now = clock_.Now();
  if (now < next_sweep_) return;
  next_sweep_ = now + absl::Seconds(http_limits::kObjectSweepSeconds);
  old = TakeOld();
}

absl::Status HubObjects::CheckRoom(uint64_t size_bytes) {
  RemoveOld();
  return disk_.Reserve(size_bytes, "upload").status();
}

absl::StatusOr<std::unique_ptr<HubObjects::Incoming>> HubObjects::Receive(const std::string& repo,
                                                                          const ContentName& name) {
  if (name.size_bytes > limits::kMaxFileBytes) {
    return MakeError(absl::StatusCode::kResourceExhausted, "FILE_TOO_LARGE",
                     absl::StrCat("object ", name.digest.ToHex(), ": expected at most ",
                                  limits::kMaxFileBytes, " bytes, found ", name.size_bytes));
  }
  RemoveOld();
  std::string path;
  {
    absl::MutexLock lock(&mutex_);
    if (kept_.size() >= http_limits::kMaxObjects) {
      return MakeError(absl::StatusCode::kResourceExhausted, "TOO_MANY_OBJECTS",
                       absl::StrCat("expected at most ", http_limits::kMaxObjects,
                                    " objects without a commit; try again"));
    }
    path = absl::StrCat(folder_, "/", next_file_++);
  }
  // The commit writes it once more.
  WDELTA_ASSIGN_OR_RETURN(
      DiskGuard::Reservation reservation,
      disk_.Reserve(2 * name.size_bytes, absl::StrCat("object ", name.digest.ToHex())));
  auto object = std::make_shared<const HubObject>(&files_, path, name.digest, name.size_bytes);
  WDELTA_ASSIGN_OR_RETURN(std::unique_ptr<AppendFile> file, files_.OpenForAppend(path, 0));
  return std::unique_ptr<Incoming>(
      new Incoming(this, repo, std::move(object), std::move(file), std::move(reservation)));
}

absl::Status HubObjects::Incoming::Append(absl::string_view data) {
  if (data.size() > object_->size_bytes() - received_bytes_) {
    return MakeError(absl::StatusCode::kInvalidArgument, "WRONG_SIZE",
                     absl::StrCat("object ", object_->digest().ToHex(), ": expected ",
                                  object_->size_bytes(), " bytes, found more"));
  }
  unchecked_bytes_ += data.size();
  if (unchecked_bytes_ >= limits::kDiskCheckBytes) {
    WDELTA_RETURN_IF_ERROR(
        objects_.disk_.CheckNotFull(absl::StrCat("object ", object_->digest().ToHex())));
    unchecked_bytes_ = 0;
  }
  WDELTA_RETURN_IF_ERROR(file_->Append(data));
  // The file system counts them from here on.
  reservation_.GiveBack(data.size());
  hasher_.Update(data);
  received_bytes_ += data.size();
  return absl::OkStatus();
}

absl::StatusOr<HubObjectPtr> HubObjects::Incoming::Keep() {
  file_.reset();
  if (received_bytes_ != object_->size_bytes()) {
    return MakeError(absl::StatusCode::kInvalidArgument, "WRONG_SIZE",
                     absl::StrCat("object ", object_->digest().ToHex(), ": expected ",
                                  object_->size_bytes(), " bytes, found ", received_bytes_));
  }
  const Digest found = hasher_.Current();
  if (found != object_->digest()) {
    return MakeError(absl::StatusCode::kInvalidArgument, "DIGEST_MISMATCH",
                     absl::StrCat("object: expected SHA-256 ", object_->digest().ToHex(),
                                  ", found ", found.ToHex()));
  }
  absl::MutexLock lock(&objects_.mutex_);
  objects_.kept_[Key(repo_, found)] = {object_, objects_.clock_.Now()};
  return object_;
}

}  // namespace wdelta

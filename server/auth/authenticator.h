// From the token of a call to who calls.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "server/auth/identity.h"
#include "server/auth/token_file.h"

namespace wdelta {

// Any thread may call it. Keeps hashes, never tokens.
class Authenticator {
 public:
  // Errors of ReadTokenFile.
  static absl::StatusOr<std::unique_ptr<Authenticator>> Open(const std::string& path);

  // `authorization` is the value of the header, `Bearer TOKEN`; empty: none.
  // UNAUTHENTICATED (`TOKEN_MISSING`, `TOKEN_UNKNOWN`). Compares with every entry to its last
  // byte, so that the time tells nothing of a hash. Does not block.
  absl::StatusOr<IdentityPtr> Authenticate(absl::string_view authorization) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Of the token of that name, as it is in force; null: there is none (any more).
  IdentityPtr Find(absl::string_view name) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Reads the file again when it has changed since it was last looked at, or could not be read
  // then; true: what it says is in force. Errors of ReadTokenFile, once for a change of the file
  // or of what is wrong: what was in force stays.
  // One thread at a time.
  absl::StatusOr<bool> ReloadIfChanged() ABSL_LOCKS_EXCLUDED(mutex_);

  size_t token_count() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using Entries = std::shared_ptr<const std::vector<IdentityPtr>>;
  // What changes with a file, be it written or replaced.
  struct FileState {
    uint64_t device = 0;
    uint64_t inode = 0;
    int64_t size_bytes = -1;  // -1: there is none
    int64_t modify_time_ns = 0;
    int64_t change_time_ns = 0;  // of permissions too
    friend bool operator==(const FileState&, const FileState&) = default;
  };

  Authenticator(std::string path, FileState state, std::vector<IdentityPtr> entries);
  static FileState StateOf(const std::string& path);
  Entries entries() const ABSL_LOCKS_EXCLUDED(mutex_);

  const std::string path_;
  // Of the thread that reloads.
  FileState seen_;
  absl::Status told_;  // why `seen_` is not in force
  mutable absl::Mutex mutex_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace wdelta

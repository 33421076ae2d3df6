// The daemon that a soak run kills and starts again on one folder.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "tests/support/process.h"

namespace wdelta::testing {

// gRPC on a Unix socket, so that clients find the next life where the last one was; HTTP
// on a port of each life. Any thread may call NewChannel, http_address and WasDownSince; the
// rest is for one thread at a time.
class SoakDaemon {
 public:
  // Lives in `folder`, which must be empty and whose path must fit into a socket's name.
  SoakDaemon(std::string folder, uint64_t memory_limit_bytes);
  ~SoakDaemon();
  SoakDaemon(const SoakDaemon&) = delete;
  SoakDaemon& operator=(const SoakDaemon&) = delete;

  // Returns once it serves. Fails the test, and returns false, when it ends before.
  bool Start() ABSL_LOCKS_EXCLUDED(mutex_);
  // SIGKILL; peak_rss_bytes keeps what the life had reached.
  void Kill() ABSL_LOCKS_EXCLUDED(mutex_);
  // SIGTERM. The exit code.
  int Stop() ABSL_LOCKS_EXCLUDED(mutex_);

  // A connection of its own.
  std::shared_ptr<grpc::Channel> NewChannel() const;
  // `host:port`; of the last life while there is none.
  std::string http_address() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whether it was down at any time since then.
  bool WasDownSince(absl::Time time) const ABSL_LOCKS_EXCLUDED(mutex_);
  // VmHWM, the most of all lives so far.
  uint64_t PeakRssBytes() ABSL_LOCKS_EXCLUDED(mutex_);

  std::string data_dir() const { return folder_ + "/data"; }
  // Of the current life, or of the last once it has ended.
  const std::string& output() const { return process_->output(); }

 private:
  void NoteDown() ABSL_LOCKS_EXCLUDED(mutex_);
  void JoinReader();

  const std::string folder_;
  const uint64_t memory_limit_bytes_;
  std::unique_ptr<ChildProcess> process_;
  // Reads what the daemon writes, so that it never waits for that.
  std::thread reader_;

  mutable absl::Mutex mutex_;
  bool is_up_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time up_since_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::string http_address_ ABSL_GUARDED_BY(mutex_);
  uint64_t peak_rss_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace wdelta::testing
